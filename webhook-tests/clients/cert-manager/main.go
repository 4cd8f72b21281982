// Command cert-manager is cert-manager from its public modules: as much of it as signs certificates with an authority
// that is in the cluster.
//
//	cert-manager controller KUBECONFIG
//	cert-manager cainjector KUBECONFIG [FEATURE=BOOL,...]
//
// The two are processes of their own, as in cert-manager's Deployments. Each runs until it is killed, does not elect a
// leader, and opens no port. cert-manager's own webhook is left out: it judges what users write, and changes nothing
// that the other two need.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cert-manager/cert-manager/pkg/logs"
)

func main() {
	logs.InitLogs()
	ctrl.SetLogger(logs.Log)
	ctx, cancel := signal.NotifyContext(klog.NewContext(context.Background(), logs.Log), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cert-manager:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "controller":
		return runController(ctx, arguments[1])
	case len(arguments) == 2 && arguments[0] == "cainjector":
		return runInjector(ctx, arguments[1], "")
	case len(arguments) == 3 && arguments[0] == "cainjector":
		return runInjector(ctx, arguments[1], arguments[2])
	}
	return fmt.Errorf("usage: cert-manager controller KUBECONFIG | cainjector KUBECONFIG [FEATURE=BOOL,...]")
}
