import { constants } from 'node:os'

/** Symbolic name of an errno value (`17` → `EEXIST`); unknown ones become `errno 12345`. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno)
  return found?.[0] ?? `errno ${errno}`
}

/**
 * A request that the kernel, or the codec in its place, turned down.
 *
 * Stays inside this package: the executor adds operation, device and namespace before anybody else sees it.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  /** Positive errno. */
  readonly errno: number

  /** @param detail - the kernel's own explanation, or what was attempted */
  constructor(errno: number, detail: string) {
    super(detail === '' ? errnoName(errno) : `${errnoName(errno)}: ${detail}`)
    this.errno = errno
  }
}

/** Errno of anything thrown by this package or by node:fs; undefined for other values. */
export function errnoOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') return undefined
  return Math.abs(error.errno)
}
