import { OffloadError } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Kubectl } from '../../kubectl/kubectl.ts'
import { type Check, fail, type Finding, ok, warn } from '../check.ts'

/** A setting that Cilium's ConfigMap has to have. */
interface Rule {
  /** Key in the ConfigMap. */
  readonly key: string
  /** Value of Helm that makes it, with the value that is wanted. */
  readonly helm: string
  /** What holds where the key is left out; empty for nothing. */
  readonly otherwise: string
  /** Whether the value will do. */
  readonly fits: (value: string) => boolean
  /** Why not, if not. */
  readonly why: string
  /** Whether it does not work without. */
  readonly must?: true
}

const is =
  (...wanted: readonly string[]): Rule['fits'] =>
  (value) =>
    wanted.includes(value)
const given: Rule['fits'] = (value) => value !== ''

const OPERATOR = 'the operator finds no agent pod on the host, and keeps the node tainted or its network unavailable'
const PROBES = "the probes go to the host's address, where no agent is"

const RULES: readonly Rule[] = [
  {
    key: 'datapath-mode',
    helm: 'bpf.datapathMode=veth',
    otherwise: 'veth',
    fits: is('veth'),
    why: 'the devices of pods have to be veth',
    must: true,
  },
  {
    key: 'cni-chaining-mode',
    helm: 'cni.chainingMode=none',
    otherwise: 'none',
    fits: is('none'),
    why: 'pods would get their addresses from another CNI',
    must: true,
  },
  {
    key: 'ipam',
    helm: 'ipam.mode=cluster-pool',
    otherwise: 'cluster-pool',
    fits: is('cluster-pool', 'kubernetes', 'multi-pool', 'crd'),
    why: 'the agent hands out no addresses in this mode: only mode splice of the adapter can be used',
  },
  {
    key: 'bpf-lb-sock-hostns-only',
    helm: 'socketLB.hostNamespaceOnly=true',
    otherwise: 'false',
    fits: is('true'),
    why: "sockets of pods are on the host's kernel: their packets to a ClusterIP would not be translated",
    must: true,
  },
  {
    key: 'kube-proxy-replacement',
    helm: 'kubeProxyReplacement=true',
    otherwise: 'false',
    fits: is('true', 'strict'),
    why: "packets of pods never pass the host's kube-proxy",
  },
  {
    key: 'devices',
    helm: 'devices=UPLINK',
    otherwise: '',
    fits: given,
    why: "the node's address, by which uplinks are found, is on no device of the DPU",
  },
  {
    key: 'direct-routing-device',
    helm: 'nodePort.directRoutingDevice=UPLINK',
    otherwise: '',
    fits: given,
    why: "the node's address, by which it is found, is on no device of the DPU",
  },
  { key: 'enable-health-checking', helm: 'healthChecking=false', otherwise: 'true', fits: is('false'), why: PROBES },
  {
    key: 'enable-endpoint-health-checking',
    helm: 'endpointHealthChecking.enabled=false',
    otherwise: 'true',
    fits: is('false'),
    why: PROBES,
  },
  {
    key: 'cni-exclusive',
    helm: 'cni.exclusive=false',
    otherwise: 'false',
    fits: is('false'),
    why: 'other network configurations on the DPU are renamed',
  },
  { key: 'enable-l7-proxy', helm: 'l7Proxy=true', otherwise: 'true', fits: is('true'), why: 'policies for HTTP and DNS names are refused' },
  {
    key: 'api-rate-limit',
    helm: 'apiRateLimit="endpoint-create=rate-limit:5/s,rate-burst:10,max-wait-duration:30s"',
    otherwise: '',
    fits: given,
    why: 'when many pods start, the agent makes one endpoint every two seconds',
  },
  { key: 'set-cilium-node-taints', helm: 'operator.setNodeTaints=false', otherwise: 'false', fits: is('false'), why: OPERATOR },
  { key: 'remove-cilium-node-taints', helm: 'operator.removeNodeTaints=false', otherwise: 'true', fits: is('false'), why: OPERATOR },
  { key: 'set-cilium-is-up-condition', helm: 'operator.setNodeNetworkStatus=false', otherwise: 'true', fits: is('false'), why: OPERATOR },
]

const configMap = z.object({ data: z.record(z.string(), z.string()).default({}) })

/** Whether the ConfigMap of Cilium has what an agent on a DPU needs. An agent may be started with other settings. */
export function configMapChecks(kubectl: Kubectl, namespace: string, after: readonly string[]): readonly Check[] {
  const seen: { data?: Readonly<Record<string, string>> } = {}
  return [
    {
      id: 'k8s.cilium-config',
      title: 'Cilium has its ConfigMap',
      after,
      async run(signal) {
        const { data } = await kubectl.json({ args: ['get', 'configmap', 'cilium-config', '-n', namespace] }, configMap, signal)
        seen.data = data
        return ok(`${namespace}/cilium-config, ${Object.keys(data).length} settings`)
      },
    },
    ...RULES.map((rule): Check => ({
      id: `k8s.cilium-config.${rule.key}`,
      title: `cilium-config is made with ${rule.helm}`,
      after: ['k8s.cilium-config'],
      run() {
        if (seen.data === undefined) throw new OffloadError('INTERNAL', 'doctor: k8s.cilium-config has not been read')
        return settingFinding(rule, seen.data[rule.key])
      },
    })),
  ]
}

function settingFinding({ key, helm, otherwise, fits, why, must }: Rule, value: string | undefined): Finding {
  const seen = value === undefined ? `${key} is not set` : `${key} = ${value}`
  if (fits(value ?? otherwise)) return ok(seen)
  return (must === true ? fail : warn)(seen, why, `Set ${helm} for the agent of the DPU.`)
}
