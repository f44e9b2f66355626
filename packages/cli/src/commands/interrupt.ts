import { OffloadError } from '@cni-offload/sdk'

/** A signal that aborts when the user interrupts the command (SIGINT, SIGTERM), as long as it is not disposed. */
export function untilInterrupted(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const interrupt = (signal: NodeJS.Signals): void => controller.abort(new OffloadError('CANCELLED', `interrupted by ${signal}`))
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}
