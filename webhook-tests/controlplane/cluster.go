package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// How often readiness is asked for. A question costs a request on the loopback.
const pollInterval = 25 * time.Millisecond

// Two nodes in two zones, so that anti-affinity and drains have somewhere to go.
var nodeNames = []string{"node-a", "node-b"}

// cluster is the running API server, seen as the administrator.
type cluster struct {
	client *kubernetes.Clientset
	config *rest.Config
}

func connect(kubeconfig string) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit: all of this is start-up time
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{client: client, config: config}, nil
}

// poll repeats check until it succeeds; the error is that of its last run.
func poll(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(pollInterval):
		}
	}
}

// healthy waits until a URL answers 200.
func (c *cluster) healthy(ctx context.Context, url string) error {
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return err
	}
	return poll(ctx, url, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", response.Status)
		}
		return nil
	})
}

// furnish creates what every test takes for granted: nodes and a default class
// of volumes.
func (c *cluster) furnish(ctx context.Context) error {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             resource.MustParse("10000"),
	}
	for _, name := range nodeNames {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name:        name,
				Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
				Labels: map[string]string{
					corev1.LabelHostname:     name,
					corev1.LabelOSStable:     "linux",
					corev1.LabelArchStable:   "amd64",
					corev1.LabelTopologyZone: "zone-of-" + name,
				},
			},
			Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity},
		}
		if _, err := c.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "standard",
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: "webhook-tests.atomix.io/volumes",
	}
	_, err := c.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// settled waits until pods can be created and will run: schedulable nodes, and
// the ServiceAccount that admission gives to pods that name none.
func (c *cluster) settled(ctx context.Context) error {
	for _, name := range nodeNames {
		err := poll(ctx, "node "+name, func(ctx context.Context) error {
			node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if len(node.Spec.Taints) != 0 {
				return fmt.Errorf("tainted: %v", node.Spec.Taints)
			}
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("not ready: %v", node.Status.Conditions)
		})
		if err != nil {
			return err
		}
	}
	for _, namespace := range []string{"default", "kube-system"} {
		err := poll(ctx, "ServiceAccount default of "+namespace, func(ctx context.Context) error {
			_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
