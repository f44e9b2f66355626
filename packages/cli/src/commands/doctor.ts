import { systemClock } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import { dpuChecks } from '../doctor/dpu.ts'
import { hostChecks } from '../doctor/host.ts'
import { hasFailed, reportText } from '../doctor/report.ts'
import { runChecks } from '../doctor/run.ts'
import { count } from './options.ts'
import { untilInterrupted } from './interrupt.ts'

interface Options {
  readonly side: 'host' | 'dpu'
  readonly config?: string
  readonly installState?: string
  readonly timeout: number
  readonly json?: true
}

/** `offload doctor`: looks at all that a host or a DPU needs, and says what is wrong and what to do. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look at all that this machine needs to serve pods: what is there, what is wrong, and what to do about it')
    .addOption(new Option('--side <side>', 'what this machine is').choices(['host', 'dpu']).makeOptionMandatory())
    .option('--config <file>', "the daemon's configuration; /etc/cni-offload/host.yaml or agent.yaml by default")
    .option('--install-state <dir>', 'host: folder in which the installer remembers what it has done')
    .option('--timeout <seconds>', 'longest that one check may take', count, 15)
    .option('--json', 'as JSON')
    .action(async (options: Options) => {
      using interrupted = untilInterrupted()
      const results = await runChecks(await checksOf(options), { signal: interrupted.signal, timeoutMs: options.timeout * 1000 })
      process.stdout.write(
        `${options.json === true ? JSON.stringify({ side: options.side, checks: results }, null, 2) : reportText(results)}\n`,
      )
      if (hasFailed(results)) process.exitCode = 1
    })
}

async function checksOf({ side, config, installState }: Options): ReturnType<typeof hostChecks> {
  if (side === 'host') return await hostChecks({ config: config ?? '/etc/cni-offload/host.yaml', installState, clock: systemClock })
  return await dpuChecks({ config: config ?? '/etc/cni-offload/agent.yaml', clock: systemClock })
}
