/** A complaint of the control agent that says why it does not work. */
export type AgentFault =
  | 'vfio-group-not-viable'
  | 'vfio-open'
  | 'iommu-group'
  | 'iommu-model'
  | 'address'
  | 'mailbox-memory'
  | 'dpi-init'
  | 'sdp-init'
  | 'pem-unavailable'
  | 'option'

/** What a line of the control agent says. It numbers links (PEM) and physical functions (PF); of VFs it never says which. */
export type AgentLine =
  /** The host may use a function now, or may not any more. */
  | { readonly kind: 'fw-ready'; readonly pem: number; readonly pf: number; readonly ready: boolean }
  /** The host resets the link: it boots. */
  | { readonly kind: 'host-reset'; readonly pem: number | undefined }
  /** It sets the link up anew after such a reset. */
  | { readonly kind: 'reinit'; readonly pem: number }
  /** It could not, and is of no use from now on, but goes on running. */
  | { readonly kind: 'reset-failed'; readonly pem: number }
  /** It was told to end, and does. */
  | { readonly kind: 'quitting' }
  /** It knows the chip. */
  | { readonly kind: 'soc'; readonly model: string }
  /** Time between its heartbeats. */
  | { readonly kind: 'heartbeat'; readonly intervalMs: number }
  /** It cannot read its configuration. Line 0 is the file itself. */
  | { readonly kind: 'config-error'; readonly file: string; readonly line: number; readonly text: string }
  /** It does not take a part of its configuration. */
  | { readonly kind: 'skipped'; readonly what: string }
  /** Something does not work. */
  | { readonly kind: 'fault'; readonly fault: AgentFault }
  /** The host has asked for something. */
  | { readonly kind: 'command'; readonly command: string }
  /** Nothing that matters. */
  | { readonly kind: 'other' }

const FAULTS: readonly (readonly [RegExp, AgentFault])[] = [
  [/VFIO Group is not viable/, 'vfio-group-not-viable'],
  [/failed to open .*VFIO (?:device|group)/, 'vfio-open'],
  [/Failed to find IOMMU group/, 'iommu-group'],
  [/Failed to set IOMMU model/, 'iommu-model'],
  [/Invalid (?:PEM|DPI) device BDF|Unable to parse SDP RVU PF BDFs/, 'address'],
  [/Failed to map mailbox memory/, 'mailbox-memory'],
  [/DPI init failed/, 'dpi-init'],
  [/SDP RVU PF init failed/, 'sdp-init'],
  [/pem\[\d+\] unavailable/, 'pem-unavailable'],
  [/Invalid option/, 'option'],
]

type Groups = Readonly<Record<string, string>>

const PATTERNS: readonly (readonly [RegExp, (groups: Groups) => AgentLine])[] = [
  [
    /^CNXK: pem\[(?<pem>\d+)\] pf\[(?<pf>\d+)\] fw ready (?<ready>[01])\b/,
    ({ pem, pf, ready }) => ({ kind: 'fw-ready', pem: Number(pem), pf: Number(pf), ready: ready === '1' }),
  ],
  [/^APP: Event: perst on dom\[(?<pem>\d+)\]/, ({ pem }) => ({ kind: 'host-reset', pem: Number(pem) })],
  [/^LIB: Got PERST/, () => ({ kind: 'host-reset', pem: undefined })],
  [/^APP: Reiniti\w+ PEM (?<pem>\d+)/, ({ pem }) => ({ kind: 'reinit', pem: Number(pem) })],
  [/^APP: Unable to handle perst event on PEM (?<pem>\d+)/, ({ pem }) => ({ kind: 'reset-failed', pem: Number(pem) })],
  [/^APP: Program quitting/, () => ({ kind: 'quitting' })],
  [/^SOC: Model: (?<model>\S+)/, ({ model = '' }) => ({ kind: 'soc', model })],
  [/^APP: Heartbeat interval : (?<ms>\d+) msecs/, ({ ms }) => ({ kind: 'heartbeat', intervalMs: Number(ms) })],
  [
    /^APP: (?<file>\S.*):(?<line>\d+) - (?<text>.+)$/,
    ({ file = '', line, text = '' }) => ({ kind: 'config-error', file, line: Number(line), text }),
  ],
  [/^APP: Skipping out of bounds (?<what>\S+)/, ({ what = '' }) => ({ kind: 'skipped', what })],
  [/^(?:APP: )?Cmd: (?<command>.+)$/, ({ command = '' }) => ({ kind: 'command', command })],
]

/** Reads a line of the control agent, of either of its streams. */
export function parseAgentLine(line: string): AgentLine {
  for (const [pattern, read] of PATTERNS) {
    const found = pattern.exec(line)
    if (found !== null) return read(found.groups ?? {})
  }
  const fault = FAULTS.find(([pattern]) => pattern.test(line))?.[1]
  return fault === undefined ? { kind: 'other' } : { kind: 'fault', fault }
}

/** What to do about a fault. */
export const FAULT_HINTS: Readonly<Record<AgentFault, string>> = {
  'vfio-group-not-viable': 'another function of the same IOMMU group has a driver of the kernel: bind all of that group to vfio-pci',
  'vfio-open': 'bind the functions of its command line to vfio-pci, and end any other process that has them open: offload octeon setup',
  'iommu-group': 'the function has no IOMMU group: bind it to vfio-pci, and look whether the IOMMU is on',
  'iommu-model': 'vfio_iommu_type1 is not loaded, or the group is not viable: modprobe vfio_iommu_type1',
  address: 'compare the PCI addresses of its command line with those of the card, and its release with the firmware',
  'mailbox-memory': 'it needs a huge page of the default size, and the right to see physical addresses: offload octeon setup',
  'dpi-init': 'bind the DMA engine to vfio-pci: offload octeon setup',
  'sdp-init': 'bind the packet interfaces for the agent to vfio-pci: offload octeon setup',
  'pem-unavailable': 'the host is off, in reset or without the card: nothing to do here until it boots',
  option: 'the release of the agent does not know these options: configure sdk as it is',
}
