import type { LinuxNet } from '../net/model.ts'

/** A device that disposes of the kernel access that was made for it. */
export function owning<T extends object>(net: LinuxNet, device: T): T & { [Symbol.asyncDispose](): Promise<void> } {
  return Object.assign(device, { [Symbol.asyncDispose]: (): Promise<void> => Promise.resolve(net[Symbol.asyncDispose]()) })
}
