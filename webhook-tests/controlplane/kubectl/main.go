// Command kubectl is kubectl as upstream builds it.
//
// It is a program of its own, because tests run it thousands of times: as a part of the control plane's binary, it took
// twice the time to start.
package main

import (
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		// Prints the error in kubectl's own words, causes included, and exits.
		kubectlutil.CheckErr(err)
	}
}
