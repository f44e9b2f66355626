import type { Machine } from '@cni-offload/linux/machine'
import { systemClock } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import type { Check } from '../doctor/check.ts'
import { dpuChecks } from '../doctor/dpu.ts'
import { hostChecks } from '../doctor/host.ts'
import type { CheckedHardware } from '../doctor/octeon.ts'
import { hasFailed, reportText } from '../doctor/report.ts'
import { runChecks } from '../doctor/run.ts'
import { kubectlFrom, type KubectlFlags, withKubectlOptions } from '../kubectl/command-options.ts'
import { untilInterrupted } from './interrupt.ts'
import { count } from './options.ts'

interface Options extends KubectlFlags {
  readonly side: 'host' | 'dpu'
  readonly config?: string
  readonly installState?: string
  readonly hardware?: CheckedHardware
  readonly root?: string
  readonly managementPeer?: string
  readonly ciliumSocket?: string
  readonly node?: string
  readonly ciliumNamespace: string
  readonly cluster: boolean
  readonly timeout: number
  readonly json?: true
}

/**
 * `offload doctor`: looks at all that a host or a DPU needs, and says what is wrong and what to do.
 *
 * @param machine - whose hardware is looked at; the one that this runs on by default
 */
export function doctorCommand(machine?: Machine): Command {
  const command = new Command('doctor')
    .description('look at all that this machine needs to serve pods: what is there, what is wrong, and what to do about it')
    .addOption(new Option('--side <side>', 'what this machine is').choices(['host', 'dpu']).makeOptionMandatory())
    .option('--config <file>', "the daemon's configuration; /etc/cni-offload/host.yaml or agent.yaml by default")
    .addOption(new Option('--hardware <name>', 'look at this hardware, too; that of the configuration by default').choices(['octeon']))
    .option('--root <dir>', "OCTEON: folder in which the machine's files are mounted; that of the configuration by default")
    .option('--management-peer <address>', 'OCTEON: address of the other side on the link between host and DPU')
    .option('--install-state <dir>', 'host: folder in which the installer remembers what it has done')
    .option('--cilium-socket <path>', "DPU: cilium-agent's socket; that of the adapter by default")
    .option('--node <name>', "DPU: name of the host's node; that of the adapter by default")
    .option('--cilium-namespace <name>', "DPU: namespace of Cilium's ConfigMap", 'kube-system')
    .option('--no-cluster', 'DPU: do not look at the cluster')
  return withKubectlOptions(command)
    .option('--timeout <seconds>', 'longest that one check may take', count, 15)
    .option('--json', 'as JSON')
    .action(async (options: Options) => {
      using interrupted = untilInterrupted()
      const results = await runChecks(await checksOf(options, machine), { signal: interrupted.signal, timeoutMs: options.timeout * 1000 })
      const text = options.json === true ? JSON.stringify({ side: options.side, checks: results }, null, 2) : reportText(results)
      process.stdout.write(`${text}\n`)
      if (hasFailed(results)) process.exitCode = 1
    })
}

async function checksOf(options: Options, machine: Machine | undefined): Promise<readonly Check[]> {
  const { side, config, installState, ciliumSocket, node, ciliumNamespace, kubectl, kubeconfig, context } = options
  const { hardware, root, managementPeer } = options
  const choice = { hardware, root, managementPeer, machine, clock: systemClock }
  if (side === 'host') {
    const configOptional = config === undefined && hardware !== undefined
    return await hostChecks({ ...choice, config: config ?? '/etc/cni-offload/host.yaml', configOptional, installState })
  }
  const asked = [kubectl, kubeconfig, context].some((flag) => flag !== undefined)
  return await dpuChecks({
    config: config ?? '/etc/cni-offload/agent.yaml',
    ...choice,
    configOptional: config === undefined && (ciliumSocket !== undefined || hardware !== undefined),
    ciliumSocket,
    node,
    cluster: options.cluster ? { kubectl: kubectlFrom(options), asked, ciliumNamespace } : undefined,
  })
}
