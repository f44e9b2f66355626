import type { CommandOutcome } from '@cni-offload/linux/machine'
import type { FakeKernel } from '../kernel/fake-kernel.ts'
import { ModuleFailure } from '../kernel/modules.ts'
import { type Command, complains, divide, done } from './command.ts'

const REMOVE = ['-r', '--remove']
const ALL = ['-a', '--all']
const KNOWN = new Set([...REMOVE, ...ALL, '-q', '--quiet', '-v', '--verbose', '-b', '--use-blacklist'])

/** `modprobe`: a module, or several with `-a` or `-r`; other words behind the first are its parameters, and accepted. */
export function modprobe(kernel: FakeKernel): Command {
  return async (args) => {
    const { flags, words } = divide(args)
    const unknown = flags.find((flag) => !KNOWN.has(flag))
    if (unknown !== undefined) return complains(1, `modprobe: unrecognized option '${unknown}'`)
    if (words.length === 0) return complains(1, 'modprobe: ERROR: missing parameters. See -h.')
    const remove = flags.some((flag) => REMOVE.includes(flag))
    const names = remove || flags.some((flag) => ALL.includes(flag)) ? words : words.slice(0, 1)
    for (const name of names) {
      const outcome = await attempt(
        () => (remove ? removed(kernel, name) : kernel.modules.load(name)),
        (failure) =>
          failure.reason === 'in-use'
            ? complains(1, `modprobe: FATAL: Module ${name} is in use.`)
            : complains(1, `modprobe: FATAL: Module ${name} not found in directory /lib/modules/${kernel.release}`),
      )
      if (outcome !== undefined) return outcome
    }
    return done()
  }
}

/** `rmmod`. */
export function rmmod(kernel: FakeKernel): Command {
  return async (args) => {
    const { words } = divide(args)
    if (words.length === 0) return complains(1, 'rmmod: ERROR: missing module name.')
    for (const name of words) {
      const outcome = await attempt(
        () => kernel.modules.unload(name),
        (failure) => complains(1, `rmmod: ERROR: Module ${name} ${failure.reason === 'in-use' ? 'is in use' : 'is not currently loaded'}`),
      )
      if (outcome !== undefined) return outcome
    }
    return done()
  }
}

/** `modprobe -r` of a module that is not loaded is success. */
async function removed(kernel: FakeKernel, name: string): Promise<void> {
  try {
    await kernel.modules.unload(name)
  } catch (error) {
    if (!(error instanceof ModuleFailure && error.reason === 'not-loaded')) throw error
  }
}

async function attempt(
  change: () => Promise<void>,
  failed: (failure: ModuleFailure) => CommandOutcome,
): Promise<CommandOutcome | undefined> {
  try {
    await change()
    return undefined
  } catch (error) {
    if (error instanceof ModuleFailure) return failed(error)
    throw error
  }
}
