import type { Logger } from '@cni-offload/sdk'
import { destination, pino } from 'pino'

/** Levels of the log, most talkative first. */
export const LOG_LEVELS: readonly ['debug', 'info', 'warn', 'error'] = ['debug', 'info', 'warn', 'error']

/** A level of the log. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** JSON records, one per line, on standard error. Written at once, so that the last words before a crash are not lost. */
export function stderrLogger(level: LogLevel = 'info'): Logger {
  return pino({ level }, destination({ fd: 2, sync: true }))
}
