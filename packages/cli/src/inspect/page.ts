import { formatAttachmentKey } from '@cni-offload/sdk'
import type { Selection, Subject } from './select.ts'
import type { NodeView } from './view.ts'

const line = (name: string, text: string | undefined): string[] =>
  text === undefined || text === '' ? [] : [`  ${name.padEnd(12)}${text}`]

const when = (ms: number): string => new Date(ms).toISOString()

/** One page about what was asked for. */
export function page(selection: Selection): string {
  const { agentTrouble, failures, node, state, subjects } = selection
  return [
    `node ${node}, host daemon ${state}, agent ${agentTrouble === undefined ? 'answers' : `does not answer: ${agentTrouble}`}`,
    ...subjects.flatMap((subject) => ['', ...subjectLines(subject, agentTrouble !== undefined)]),
    ...(failures.length === 0 ? [] : ['', 'calls that failed', ...failures.map(failureLine)]),
  ].join('\n')
}

/** What to say where nothing is known. */
export function unknown({ node, agentTrouble }: Selection, text: string): string {
  return [
    `node ${node} knows nothing of ${text}`,
    '  → Is it on this node, and does the runtime call offload-cni for it? Its ADD may have been undone long ago: the log of the host daemon says why.',
    ...(agentTrouble === undefined ? [] : [`  → The agent could not be asked: ${agentTrouble}`]),
    '  → "offload attachments" lists all that the DPU has.',
  ].join('\n')
}

function subjectLines(subject: Subject, unasked: boolean): string[] {
  const { key, attachment, dpu, fallback, lease, queued, repairs } = subject
  const pod = attachment?.pod ?? fallback?.pod
  return [
    `attachment ${formatAttachmentKey(key)}`,
    ...line('pod', pod === undefined || pod.name === '' ? undefined : `${pod.namespace}/${pod.name} ${pod.uid}`.trim()),
    ...line('network', key.network),
    ...line('container', key.containerId),
    ...line('namespace', attachment?.netns ?? fallback?.netns),
    ...hostLines(attachment, fallback),
    ...line('VF', vfText(attachment, lease)),
    ...line('DPU', fallback === undefined ? dpuText(dpu, unasked) : 'not concerned'),
    ...queued.flatMap(({ detach, reason, release, vf }) => {
      const todo = [...(release ? ['VF back home'] : []), ...(detach ? ['detach on the DPU'] : [])].join(' and ')
      return line('left to do', `${todo}, VF ${vf} quarantined until then: ${reason}`)
    }),
    ...(repairs.length === 0 ? line('repairs', 'none') : ['  repairs', ...repairs.map(repairLine)]),
  ]
}

function hostLines(attachment: NodeView['attachments'][number] | undefined, fallback: NodeView['fallbacks'][number] | undefined): string[] {
  if (attachment !== undefined)
    return [
      ...line('host', `${attachment.phase}, since ${attachment.createdAt}`),
      ...line('addresses', attachment.ips.join(', ')),
      ...line('MAC, MTU', attachment.mac === undefined ? undefined : `${attachment.mac}, ${attachment.mtu ?? '?'}`),
    ]
  if (fallback === undefined) return line('host', 'not known (any more)')
  return [
    ...line('host', `${fallback.phase} by list "${fallback.list}" (${fallback.reason}), since ${fallback.createdAt}`),
    ...line('addresses', fallback.ips.join(', ')),
    ...line('last error', fallback.failure),
  ]
}

function vfText(
  attachment: NodeView['attachments'][number] | undefined,
  lease: NodeView['leases'][number] | undefined,
): string | undefined {
  const vf = attachment?.vf ?? lease?.vf
  if (vf === undefined) return undefined
  return [vf, attachment?.pciAddress, lease?.state, lease?.health].filter((part) => part !== undefined).join(', ')
}

function dpuText(dpu: Subject['dpu'], unasked: boolean): string {
  if (unasked) return 'not known: the agent does not answer'
  return dpu === undefined ? 'not known there' : `${dpu.state}, port ${dpu.port}`
}

function repairLine({ action, at, found, outcome, reason, side, times }: Subject['repairs'][number]): string {
  const again = times > 1 ? ` (${times} times in a row)` : ''
  return `    ${when(at)}  ${side} ${action} ${outcome}${again}: ${found.join('; ')}${reason === undefined ? '' : ` – ${reason}`}`
}

function failureLine({ at, code, hint, ifName, message, verb }: NodeView['failures'][number]): string {
  return `  ${when(at)}  ${verb} ${ifName}: ${code}: ${message}${hint === undefined ? '' : ` – ${hint}`}`
}
