module differential.example/differential

go 1.21
