import { randomInt } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { LAB_ADAPTERS, type LabAdapter } from '@cni-offload/cli'
import { OffloadError } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import { isClean, jsonReport, renderReport } from './report.ts'
import { runChaos } from './run.ts'

interface Options {
  readonly kills: number
  readonly seconds: number
  readonly seed: number
  readonly ways: number
  readonly nodes: number
  readonly adapter: LabAdapter
  readonly json?: string
  readonly logs?: string
}

/** `bench chaos`: daemons and shims are killed at random under load; nothing may leak. */
export function chaosCommand(): Command {
  return new Command('chaos')
    .description('ADD, CHECK, DEL and GC while host daemons, agents and shims are killed -9 at random; fails if anything leaks')
    .option('--kills <n>', 'kills in all', Number, 100)
    .option('--seconds <n>', 'longest that it goes on', Number, 7_200)
    .option('--seed <n>', 'repeats the plan of another run; what the kernel makes of it differs each time', Number, randomInt(2 ** 31))
    .option('--ways <n>', 'workers that make and end pods', Number, 32)
    .option('--nodes <n>', 'nodes', Number, 2)
    .addOption(new Option('--adapter <name>', 'adapter on the DPU').choices(LAB_ADAPTERS).default('delegate'))
    .option('--json <file>', 'also write the report as JSON')
    .option('--logs <dir>', 'keep the logs of the daemons there')
    .action(chaos)
}

async function chaos(options: Options): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new OffloadError('PERMISSION_DENIED', 'the lab makes network namespaces, which only root may do', { hint: 'run it as root' })
  for (const name of ['kills', 'seconds', 'seed', 'ways', 'nodes'] as const)
    if (!Number.isInteger(options[name]) || options[name] < (name === 'seed' ? 0 : 1))
      throw new OffloadError('INVALID_CONFIG', `--${name} ${options[name]}: a whole number is expected`)
  const say = (text: string): boolean => process.stdout.write(`${text}\n`)
  say(`seed ${options.seed}; the same plan again: --seed ${options.seed} --nodes ${options.nodes}`)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const report = await runChaos({ ...options, progress: say, signal: stop.signal })
  say(`\n${renderReport(report)}`)
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(jsonReport(report), null, 2)}\n`)
  if (!isClean(report)) process.exitCode = 1
}
