import { Command } from 'commander'
import { OffloadError } from '@cni-offload/sdk'
import { pathCommand } from './path/command.ts'

const program = new Command('bench').description('benchmarks against peers, as ratios within one run').addCommand(pathCommand())

try {
  await program.parseAsync()
} catch (error) {
  const known = OffloadError.from(error)
  process.stderr.write(`bench: ${known.message}\n${known.hint === undefined ? '' : `  → ${known.hint}\n`}`)
  process.exitCode = 1
}
