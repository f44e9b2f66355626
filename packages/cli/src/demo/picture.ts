import type { PortInspection } from '../lab/inspect.ts'
import type { LabAdapter, LabState } from '../lab/model.ts'
import { underlayAddresses } from '../lab/addresses.ts'
import type { DemoPod } from './report.ts'

const CONNECTED: Readonly<Record<LabAdapter, string>> = {
  delegate: 'spliced into the stock "bridge" plugin',
  hello: 'in the bridge of the adapter "hello"',
  cilium: 'spliced to an endpoint of cilium-agent',
  'cilium-splice': 'spliced to what cilium-cni made',
  sriov: 'in the bridge of the adapter "sriov"',
}

const HOST = 44
const DPU = 44

/** The topology as text: who has which VF, port and address. */
export function drawTopology(state: LabState, pods: readonly DemoPod[], ports: ReadonlyMap<string, readonly PortInspection[]>): string {
  const boxes = state.nodes.flatMap((node) => {
    const rows = pods
      .filter((pod) => pod.node === node.name)
      .flatMap((pod) => {
        const port = ports.get(node.name)?.find((candidate) => candidate.vf === pod.vf)
        const where = port === undefined || port.netns === node.dpuNetns ? 'on the DPU' : `in ${port.netns}`
        return [
          row(`pod ${pod.name}: eth0 = VF ${pod.vf}`, '═', `port ${pod.port} ${where}`),
          ...pod.ips.map((ip, i) => row(`  ${ip}`, ' ', i === 0 ? `  ${CONNECTED[state.adapter]}` : '')),
          row(`  ${pod.mac}`, ' ', ''),
        ]
      })
    const underlay = underlayAddresses(node.index)
    return [
      `┌─ ${pad(`${node.name} host (${node.hostNetns}) `, HOST - 2, '─')}┐    ┌─ ${pad(`${node.name} DPU (${node.dpuNetns}) `, DPU - 2, '─')}┐`,
      ...rows,
      row('host daemon', '─', 'agent  (gRPC, mTLS, over the PF link)'),
      row('', ' ', `underlay up0 ${underlay.ipv4} ${underlay.ipv6}`),
      `└${'─'.repeat(HOST)}┘    └${'─'.repeat(DPU / 2)}┬${'─'.repeat(DPU - DPU / 2 - 1)}┘`,
      `${' '.repeat(HOST + 7 + DPU / 2)}│`,
    ]
  })
  return [...boxes, `${' '.repeat(HOST + 7)}════════ underlay fabric (${state.prefix}-fabric) ════════`].join('\n')
}

function row(host: string, cable: string, dpu: string): string {
  return `│${pad(` ${host}`, HOST)}│${cable.repeat(4)}│${pad(` ${dpu}`, DPU)}│`
}

function pad(text: string, width: number, fill = ' '): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width, fill)
}
