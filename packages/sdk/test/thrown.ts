import { OffloadError } from '../src/index.ts'

/** The OffloadError that a function throws. */
export function thrown(fn: () => unknown): OffloadError {
  try {
    fn()
  } catch (error) {
    if (OffloadError.is(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
