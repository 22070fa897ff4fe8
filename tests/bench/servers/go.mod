module benchservers.example/servers

go 1.21
