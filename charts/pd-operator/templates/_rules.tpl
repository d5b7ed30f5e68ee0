{{- /* What the operator may do where it runs services: what it does, and nothing of Secrets. */ -}}
{{- define "pd-operator.rules" -}}
- apiGroups: [inference.pdoperator.io]
  resources: [pdinferenceservices]
  verbs: [list, watch]
- apiGroups: [inference.pdoperator.io]
  resources: [pdinferenceservices/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [list, watch, create, patch]
# It grants routers get, list and watch of these two, and nobody can grant what they do not have.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end }}

{{- define "pd-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "pd-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
