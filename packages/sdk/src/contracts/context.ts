import type { Logger } from './logger.ts'

/** What every operation of an adapter or backend gets: how long it may take, and where to log. */
export interface OpContext {
  /**
   * Aborted when the caller gave up, the deadline passed or the daemon stops. An operation that is aborted rejects soon
   * and leaves nothing half done that its counterpart (`detach`, `release`) could not remove.
   */
  readonly signal: AbortSignal
  /** Logger that already carries attachment key and request id. */
  readonly log: Logger
}
