package main

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// apiServiceIP is the first address of serviceRange, which is the first range
// of dual-stack Services as well: the API server claims it for the Service
// `kubernetes`.
const (
	serviceRange     = "10.96.0.0/16"
	serviceRangeIPv6 = "fd00:10:96::/112"
	apiServiceIP     = "10.96.0.1"
)

var (
	//go:embed assets/audit-policy.yaml
	auditPolicy []byte
	//go:embed assets/kwok.yaml
	kwokConfig []byte
	//go:embed assets/scheduler.yaml
	schedulerConfig string
)

// controllers of the controller manager: those that tests can see the effect
// of. The others (cloud, certificates signing, autoscaling, ...) would only
// cost watches and memory.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"deployment-controller",
	"disruption-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"endpointslice-mirroring-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"node-lifecycle-controller",
	"persistentvolume-binder-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"taint-eviction-controller",
	"validatingadmissionpolicy-status-controller",
}

// layout is where everything of one control plane lives.
type layout struct {
	dir  string // given by the caller
	data string // parent of etcd's, in memory where possible
	keys *pki

	toWebhooks    clientPair // what the API server shows to webhooks
	serviceRanges string     // where Services get their addresses from

	etcdPort, etcdPeerPort, apiPort, managerPort, schedulerPort int
}

// clientPair is a certificate of a client and its key, as file names; none if
// they are empty.
type clientPair struct{ certificate, key string }

func (l *layout) file(name string) string { return filepath.Join(l.dir, name) }
func (l *layout) log(name string) string  { return filepath.Join(l.dir, "logs", name+".log") }
func (l *layout) server() string          { return loopback("https", l.apiPort) }
func (l *layout) kubeconfig() string      { return l.file("kubeconfig") }
func (l *layout) auditLog() string        { return l.file("audit.log") }

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// component is one process of the control plane.
type component struct {
	name string
	args []string
}

// store is what must run before anything else makes sense.
func (l *layout) store() component {
	client, peer := loopback("http", l.etcdPort), loopback("http", l.etcdPeerPort)
	return component{"etcd", []string{
		"--name=etcd",
		"--data-dir=" + filepath.Join(l.data, "etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=etcd=" + peer,
		// The data does not outlive the test: there is nothing to sync it for.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}}
}

func (l *layout) apiServer() component {
	arguments := []string{
		"--etcd-servers=" + loopback("http", l.etcdPort),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", l.apiPort),
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=" + l.serviceRanges,
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + l.keys.caCert,
		"--tls-cert-file=" + l.keys.serverCert,
		"--tls-private-key-file=" + l.keys.serverKey,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + l.keys.accountPublic,
		"--service-account-signing-key-file=" + l.keys.accountKey,
		"--requestheader-client-ca-file=" + l.keys.proxyCA,
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + l.keys.proxyCert,
		"--proxy-client-key-file=" + l.keys.proxyKey,
		"--audit-policy-file=" + l.file("audit-policy.yaml"),
		"--audit-log-path=" + l.auditLog(),
		"--event-ttl=10m",
		"--shutdown-delay-duration=0s",
	}
	if l.toWebhooks.certificate != "" {
		arguments = append(arguments, "--admission-control-config-file="+l.file("admission.yaml"))
	}
	return component{"kube-apiserver", arguments}
}

// clients are the components that live on the API server.
func (l *layout) clients() []component {
	return []component{
		{"kwok", []string{
			"--kubeconfig=" + l.kubeconfig(),
			"--config=" + l.file("kwok.yaml"),
		}},
		{"kube-controller-manager", []string{
			"--kubeconfig=" + l.kubeconfig(),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", l.managerPort),
			"--tls-cert-file=" + l.keys.serverCert,
			"--tls-private-key-file=" + l.keys.serverKey,
			"--leader-elect=false",
			"--use-service-account-credentials=false",
			"--service-account-private-key-file=" + l.keys.accountKey,
			"--root-ca-file=" + l.keys.caCert,
			"--kube-api-qps=5000",
			"--kube-api-burst=10000",
			"--concurrent-statefulset-syncs=10",
			"--controllers=" + strings.Join(controllers, ","),
		}},
		{"kube-scheduler", []string{
			"--config=" + l.file("scheduler.yaml"),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", l.schedulerPort),
			"--tls-cert-file=" + l.keys.serverCert,
			"--tls-private-key-file=" + l.keys.serverKey,
		}},
	}
}

// write puts the files that the components read below the directory.
func (l *layout) write() error {
	files := map[string][]byte{
		"audit-policy.yaml": auditPolicy,
		"kwok.yaml":         kwokConfig,
		"scheduler.yaml":    []byte(strings.ReplaceAll(schedulerConfig, "KUBECONFIG", l.kubeconfig())),
		"kubeconfig":        adminKubeconfig(l.server(), l.keys),
	}
	if l.toWebhooks.certificate != "" {
		files["admission.yaml"] = admissionConfiguration(l.file("webhooks.kubeconfig"))
		files["webhooks.kubeconfig"] = webhooksKubeconfig(l.toWebhooks)
	}
	for name, content := range files {
		if err := os.WriteFile(l.file(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// adminKubeconfig holds everything inline, so that it can be copied anywhere.
func adminKubeconfig(server string, keys *pki) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: webhook-tests
contexts:
- name: webhook-tests
  context: {cluster: webhook-tests, user: admin}
clusters:
- name: webhook-tests
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
`, server, base64.StdEncoding.EncodeToString(keys.caPEM), base64.StdEncoding.EncodeToString(keys.adminPEM), base64.StdEncoding.EncodeToString(keys.adminKeyPEM))
}

// admissionConfiguration has the API server show webhooks what is in a
// kubeconfig.
func admissionConfiguration(kubeconfig string) []byte {
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
	for _, plugin := range []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"} {
		text += fmt.Sprintf(`- name: %s
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: %s
`, plugin, kubeconfig)
	}
	return []byte(text)
}

// webhooksKubeconfig is for webhooks of all names, since their ports, which
// would be part of the names, are chosen later.
func webhooksKubeconfig(pair clientPair) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
users:
- name: "*"
  user:
    client-certificate: %s
    client-key: %s
`, pair.certificate, pair.key)
}
