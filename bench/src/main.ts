import { Command } from 'commander'
import { OffloadError } from '@cni-offload/sdk'
import { chaosCommand } from './chaos/command.ts'
import { pathCommand } from './path/command.ts'

const program = new Command('bench')
  .description('benchmarks against peers, as ratios within one run, and what nobody wants to happen, at random')
  .addCommand(pathCommand())
  .addCommand(chaosCommand())

try {
  await program.parseAsync()
} catch (error) {
  const known = OffloadError.from(error)
  process.stderr.write(`bench: ${known.message}\n${known.hint === undefined ? '' : `  → ${known.hint}\n`}`)
  process.exitCode = 1
}
