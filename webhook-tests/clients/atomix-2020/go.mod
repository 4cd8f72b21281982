module atomix.io/clients/atomix-2020

go 1.26.0

require (
	github.com/atomix/api v0.0.0-20200123231207-4e5fb1cbaf40
	github.com/atomix/go-client v0.0.0-20200124004211-e5e19cd4730d
	github.com/atomix/go-framework v0.0.0-20200124003840-f24758b13aa2
	github.com/atomix/go-local v0.0.0-20200124003802-357f6682b2f4
	github.com/gogo/protobuf v1.3.1
	google.golang.org/genproto v0.0.0-20190819201941-24fa4b261c55
	google.golang.org/grpc v1.23.1
)

require (
	github.com/cenkalti/backoff v2.2.1+incompatible // indirect
	github.com/golang/protobuf v1.3.2 // indirect
	github.com/google/uuid v1.1.1 // indirect
	github.com/konsorten/go-windows-terminal-sequences v1.0.2 // indirect
	github.com/sirupsen/logrus v1.4.2 // indirect
	golang.org/x/net v0.0.0-20190724013045-ca1201d0de80 // indirect
	golang.org/x/sys v0.0.0-20190804053845-51ab0e2deafa // indirect
	golang.org/x/text v0.3.2 // indirect
)
