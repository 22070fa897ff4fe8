module goservers.example/servers

go 1.21
