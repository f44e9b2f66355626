import { OffloadError } from '@cni-offload/sdk'
import { errnoOf } from '@cni-offload/linux/machine'
import type { SetupSite } from './site.ts'

/** Runs a command that has to succeed. @throws OffloadError NOT_READY (there is no such command), KERNEL_REFUSED (it failed) with what it said */
export async function runCommand({ machine, signal }: SetupSite, argv: readonly [string, ...string[]], hint: string): Promise<void> {
  const told = argv.join(' ')
  const outcome = await machine.run(argv, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    if (errnoOf(error) !== 'ENOENT') throw OffloadError.from(error, 'KERNEL_REFUSED', told)
    throw new OffloadError('NOT_READY', `${told}: this machine has no program ${argv[0]}`, { cause: error, hint: `Install ${argv[0]}.` })
  })
  if (outcome.exitCode === 0) return
  const end = outcome.exitSignal ?? `exit code ${outcome.exitCode}`
  throw new OffloadError('KERNEL_REFUSED', `${told}: ${outcome.stderr.trim() || end}`, { hint })
}
