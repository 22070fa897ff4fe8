module gated

go 1.19
