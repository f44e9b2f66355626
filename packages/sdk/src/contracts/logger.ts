/** Fields of a log record. */
export type LogFields = Readonly<Record<string, unknown>>

/** What libraries log to. pino satisfies it; libraries never touch the console. */
export interface Logger {
  /** For following one request step by step. */
  debug(fields: LogFields, message: string): void
  /** Normal events that an operator wants to see. */
  info(fields: LogFields, message: string): void
  /** Something is wrong and was handled. */
  warn(fields: LogFields, message: string): void
  /** Something is wrong and somebody has to act. */
  error(fields: LogFields, message: string): void
  /** A logger that adds the fields to each of its records. */
  child(fields: LogFields): Logger
}

/** Swallows everything: the default where no logger is given. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
}
