#!/usr/bin/env node
import { Command } from 'commander'
import { OffloadError } from '@cni-offload/sdk'
import { attachmentsCommand } from './commands/attachments.ts'
import { demoCommand } from './commands/demo.ts'
import { doctorCommand } from './commands/doctor.ts'
import { inspectCommand } from './commands/inspect.ts'
import { installCommand, uninstallCommand } from './commands/install.ts'
import { ipsecCommand } from './commands/ipsec.ts'
import { labCommand } from './commands/lab.ts'
import { octeonCommand } from './commands/octeon.ts'
import { pkiCommand } from './commands/pki.ts'
import { verifyCommand } from './commands/verify.ts'

const program = new Command('offload')
  .description("Moves the network of a Kubernetes node's pods onto a DPU.")
  .addCommand(demoCommand())
  .addCommand(labCommand())
  .addCommand(pkiCommand())
  .addCommand(attachmentsCommand())
  .addCommand(inspectCommand())
  .addCommand(doctorCommand())
  .addCommand(ipsecCommand())
  .addCommand(octeonCommand())
  .addCommand(verifyCommand())
  .addCommand(installCommand())
  .addCommand(uninstallCommand())
  .showSuggestionAfterError()

try {
  await program.parseAsync()
} catch (error) {
  const known = OffloadError.from(error)
  process.stderr.write(`offload: ${known.message}\n${known.hint === undefined ? '' : `  → ${known.hint}\n`}`)
  if (known.code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
  process.exitCode = 1
}
