import { OffloadError } from '@cni-offload/sdk'

/** What a unit for systemd is to run. */
export interface AgentUnitChoice {
  /** The command; `agentCommand` makes it. */
  readonly argv: readonly [string, ...string[]]
  /** What has to be done before: driver, huge pages, configuration. */
  readonly prepare?: readonly [string, ...string[]]
  /** Module that has to be loaded before; `module` of the generation. */
  readonly module?: string
}

/**
 * A unit by which systemd runs the control agent and keeps it running, where the backend is to watch it only.
 *
 * It is stopped by SIGINT, the only signal by which it tells the host; it is started again after 2 s for ever, as a host that is off is no
 * reason to give up, and 2 s with the 10 s of its start fit into the 20 s that a host waits. What only a person can help against ends it:
 * a configuration (234), options (255) or a chip (137, which systemd does not take for SIGKILL) that it does not take. Systemd does not
 * see an agent that hangs after the host was reset: who watches it has to.
 *
 * @throws OffloadError INVALID_CONFIG for an argument that no unit can hold
 */
export function agentUnit({ argv, prepare, module }: AgentUnitChoice): string {
  const lines = [
    '# Made by: offload octeon unit',
    '[Unit]',
    "Description=Control agent of the OCTEON's packet interface",
    'After=systemd-modules-load.service dev-hugepages.mount local-fs.target',
    'Before=kubelet.service',
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=exec',
    ...(module === undefined ? [] : [`ExecStartPre=-/sbin/modprobe ${word(module)}`]),
    ...(prepare === undefined ? [] : [`ExecStartPre=${prepare.map(word).join(' ')}`]),
    `ExecStart=${argv.map(word).join(' ')}`,
    'KillSignal=SIGINT',
    'TimeoutStopSec=5',
    'Restart=always',
    'RestartSec=2',
    'SuccessExitStatus=0',
    'RestartPreventExitStatus=137 234 255',
    'LimitMEMLOCK=infinity',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ]
  return lines.map((line) => `${line}\n`).join('')
}

/** An argument as systemd reads it: `%` and `$` mean something in a command line, also within quotes. */
function word(argument: string): string {
  if (/[\0\n\r]/.test(argument))
    throw new OffloadError('INVALID_CONFIG', `the argument ${JSON.stringify(argument)} has a character that no unit of systemd can hold`, {
      hint: 'use a path without line breaks',
    })
  const escaped = argument.replaceAll('%', '%%').replaceAll('$', '$$$$')
  if (/^[\w@%+=:,./$-]+$/.test(escaped)) return escaped
  return `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}
