module atomix.io/clients/atomix-2019

go 1.26.0

require (
	github.com/atomix/atomix-api v0.0.0-20191021183656-837bfda65c82
	github.com/atomix/atomix-go-client v0.0.0-20191127222459-36981d701c6e
	github.com/atomix/atomix-go-local v0.0.0-20191021234710-cca1c26bf4d8
	github.com/atomix/atomix-go-node v0.0.0-20191021234659-c841a97bec89
	github.com/gogo/protobuf v1.2.1
)

require (
	github.com/cenkalti/backoff v2.2.1+incompatible // indirect
	github.com/golang/glog v0.0.0-20160126235308-23def4e6c14b // indirect
	github.com/golang/protobuf v1.3.2 // indirect
	github.com/google/uuid v1.1.1 // indirect
	github.com/konsorten/go-windows-terminal-sequences v1.0.2 // indirect
	github.com/sirupsen/logrus v1.4.2 // indirect
	golang.org/x/net v0.0.0-20190724013045-ca1201d0de80 // indirect
	golang.org/x/sys v0.0.0-20190804053845-51ab0e2deafa // indirect
	golang.org/x/text v0.3.2 // indirect
	google.golang.org/genproto v0.0.0-20190819201941-24fa4b261c55 // indirect
	google.golang.org/grpc v1.23.1 // indirect
)
