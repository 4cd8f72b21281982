{{/* Labels by which Helm and people find what belongs to a release. Selectors do without them. */}}
{{- define "atomix.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Those, and the one by which objects of the controller are selected. */}}
{{- define "atomix.ownLabels" -}}
name: {{ .Values.fullnameOverride }}
{{ include "atomix.labels" . }}
{{- end }}

{{- define "atomix.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}
{{- end }}

{{/* The Secret that the webhooks' certificate is in, or its authority. */}}
{{- define "atomix.webhookSecret" -}}
{{- if eq .Values.certificates.mode "secret" -}}
{{ required "certificates.secretName is required with certificates.mode=secret" .Values.certificates.secretName }}
{{- else -}}
{{ .Values.fullnameOverride }}-{{ eq .Values.certificates.mode "cert-manager" | ternary "webhook-tls" "webhook-ca" }}
{{- end -}}
{{- end }}

{{- define "atomix.priorityClass" -}}
{{- .Values.priorityClassName | default (eq .Release.Namespace "kube-system" | ternary "system-cluster-critical" "") -}}
{{- end }}

{{/* Arguments of the container, as a list. */}}
{{- define "atomix.args" -}}
- run
{{- range $protocol, $image := .Values.nodes.images }}
{{- with $image }}
- {{ printf "--%s-image=%s" $protocol . | quote }}
{{- end }}
{{- end }}
{{- with .Values.nodes.pullSecrets }}
- --image-pull-secrets={{ join "," . }}
{{- end }}
{{- with .Values.clusterDomain }}
- --cluster-domain={{ . }}
{{- end }}
{{- with .Values.log.level }}
- {{ printf "--log=%s" . | quote }}
{{- end }}
{{- with .Values.log.format }}
- --log-format={{ . }}
{{- end }}
{{- if ne .Values.certificates.mode "self-signed" }}
- --webhook-certificate=secret:{{ include "atomix.webhookSecret" . }}
{{- end }}
{{- with .Values.grpc }}
{{- with .certificateSecret }}
- --grpc-certificate=secret:{{ . }}
{{- end }}
{{- if .requireClientCertificates }}
- --grpc-client-ca=secret:{{ .certificateSecret }}
{{- end }}
{{- if ne .auth "none" }}
- --grpc-auth={{ .auth }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "atomix.subjects" -}}
- kind: ServiceAccount
  name: {{ .Values.fullnameOverride }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* Where the API server finds a webhook, by its path. */}}
{{- define "atomix.clientConfig" -}}
service:
  name: {{ .root.Values.fullnameOverride }}
  namespace: {{ .root.Release.Namespace }}
  path: {{ .path }}
  port: 443
{{- if eq .root.Values.certificates.mode "secret" }}
{{- with .root.Values.certificates.caBundle }}
caBundle: {{ b64enc . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Sets of which namespaces are asked about. */}}
{{- define "atomix.namespaceSelector" -}}
{{- if .Values.namespaces }}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: In
  values:
  {{- toYaml .Values.namespaces | nindent 2 }}
{{- end }}
{{- end }}

{{- define "atomix.webhookAnnotations" -}}
{{- if eq .Values.certificates.mode "cert-manager" -}}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ .Values.fullnameOverride }}-webhook-root
{{- end }}
{{- end }}
