import type { LinuxNet } from '../net/model.ts'

/** A device that disposes of the kernel access that was made for it, after itself. */
export function owning<T extends object & Partial<AsyncDisposable>>(
  net: LinuxNet,
  device: T,
): T & { [Symbol.asyncDispose](): Promise<void> } {
  const own = device[Symbol.asyncDispose]?.bind(device)
  return Object.assign(device, {
    async [Symbol.asyncDispose](): Promise<void> {
      try {
        await own?.()
      } finally {
        await net[Symbol.asyncDispose]()
      }
    },
  })
}
