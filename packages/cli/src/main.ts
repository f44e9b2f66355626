#!/usr/bin/env node
import { Command } from 'commander'
import { OffloadError } from '@cni-offload/sdk'

/**
 * Loaded one by one: each brings libraries that the others do not need, and to load them takes longer than most commands. In the order
 * of the help.
 */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./commands/demo.ts')).demoCommand(),
  lab: async () => (await import('./commands/lab.ts')).labCommand(),
  pki: async () => (await import('./commands/pki.ts')).pkiCommand(),
  attachments: async () => (await import('./commands/attachments.ts')).attachmentsCommand(),
  inspect: async () => (await import('./commands/inspect.ts')).inspectCommand(),
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  ipsec: async () => (await import('./commands/ipsec.ts')).ipsecCommand(),
  octeon: async () => (await import('./commands/octeon.ts')).octeonCommand(),
  verify: async () => (await import('./commands/verify.ts')).verifyCommand(),
  install: async () => (await import('./commands/install.ts')).installCommand(),
  uninstall: async () => (await import('./commands/install.ts')).uninstallCommand(),
}

/** The command that is asked for, or all of them for help and for what is mistyped. */
async function wanted(name = ''): Promise<Command[]> {
  const own = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  return await Promise.all((own === undefined ? Object.values(COMMANDS) : [own]).map((load) => load()))
}

try {
  const program = new Command('offload').description("Moves the network of a Kubernetes node's pods onto a DPU.").showSuggestionAfterError()
  for (const command of await wanted(process.argv[2])) program.addCommand(command)
  await program.parseAsync()
} catch (error) {
  const known = OffloadError.from(error)
  process.stderr.write(`offload: ${known.message}\n${known.hint === undefined ? '' : `  → ${known.hint}\n`}`)
  if (known.code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
  process.exitCode = 1
}
