{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "holdfast.fullname" .) -}}
{{- end -}}

{{- /* The name is fixed: clusters' NetworkPolicies let in whoever bears it. */ -}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* In: the values, and what has a registry and a repository. */ -}}
{{- define "holdfast.repository" -}}
{{- $registry := .values.imageRegistry | default .of.registry -}}
{{- if $registry -}}{{ $registry }}/{{ end -}}
{{- .of.repository -}}
{{- end -}}

{{- define "holdfast.image" -}}
{{- include "holdfast.repository" (dict "values" .Values "of" .Values.image) -}}
{{- if or .Values.image.tag (not .Values.image.digest) -}}
:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- with .Values.image.digest -}}
@{{ . }}
{{- end -}}
{{- end -}}

{{- define "holdfast.mysqlRepository" -}}
{{- include "holdfast.repository" (dict "values" .Values "of" .Values.mysql) -}}
{{- end -}}
