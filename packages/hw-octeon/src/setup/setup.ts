import { OffloadError } from '@cni-offload/sdk'
import { errnoOf } from '@cni-offload/linux/machine'
import { type Change, subjectOf } from './change.ts'
import type { Undone } from './kind.ts'
import type { Receipt } from './receipt.ts'
import type { SetupSite } from './site.ts'
import { type SetupStep, stepOf } from './steps.ts'

/**
 * Makes the changes of a plan in order. Each is in the receipt before it is made; when one fails, those before it stay, and another run
 * goes on from there. Whoever calls it holds the lock (`takeSetupLock`) since before it made the plan.
 *
 * @param onStep - told of each step before it is made
 * @throws OffloadError of the step that failed; IO_FAILURE if the receipt cannot be written
 */
export async function applySetup(
  changes: readonly Change[],
  receipt: Receipt,
  site: SetupSite,
  onStep: (step: SetupStep) => void = () => {},
): Promise<void> {
  for (const change of changes) {
    site.signal.throwIfAborted()
    const step = stepOf(change)
    onStep(step)
    await receipt.begin(change)
    await step.apply(site).catch((error: unknown) => {
      throw stepFailure(step, error) ?? error
    })
  }
}

/** What became of a step when it was undone. */
export interface UndoneStep {
  /** The step. */
  readonly step: SetupStep
  /** What became of it; an error if it could not be undone. */
  readonly outcome: Undone | OffloadError
}

/**
 * Undoes all changes of the receipt, the last one first. What cannot be undone stays in it for another time, and the others are undone
 * all the same. Whoever calls it holds the lock (`takeSetupLock`) since before it opened the receipt.
 *
 * @throws OffloadError IO_FAILURE if the receipt cannot be written; CANCELLED, DEADLINE_EXCEEDED
 */
export async function undoSetup(receipt: Receipt, site: SetupSite): Promise<UndoneStep[]> {
  const steps: UndoneStep[] = []
  for (const change of receipt.changes.toReversed()) {
    site.signal.throwIfAborted()
    const step = stepOf(change)
    const outcome = await step
      .undo(site, (known) => receipt.begin(known))
      .catch((error: unknown) => {
        const failure = site.signal.aborted ? undefined : stepFailure(step, error)
        // What the machine has against one is no reason not to try the others; anything else is.
        if (failure === undefined) throw error
        return failure
      })
    steps.push({ step, outcome })
    if (!OffloadError.is(outcome)) await receipt.end(change)
  }
  await receipt.close()
  return steps
}

/** What the machine has against a step; undefined for any other error. */
function stepFailure({ change }: SetupStep, error: unknown): OffloadError | undefined {
  if (OffloadError.is(error)) return error
  const errno = errnoOf(error)
  if (errno === undefined) return undefined
  const denied = ['EACCES', 'EPERM', 'EROFS'].includes(errno)
  return new OffloadError(denied ? 'PERMISSION_DENIED' : 'KERNEL_REFUSED', `${subjectOf(change)}: ${errno}`, {
    cause: error,
    hint: denied ? 'Run it as root, with a writable /sys and /proc (privileged).' : 'The kernel log (dmesg) may say why.',
  })
}
