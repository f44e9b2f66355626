/** An answer of the agent that is not a success. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure'
  /** HTTP status. */
  readonly status: number
  /** Body, to be written as JSON; null for none. */
  readonly body: unknown

  /** @param body - by default the message as a JSON string, which is what Cilium calls an error; null for none */
  constructor(status: number, message: string, body: unknown = message) {
    super(message)
    this.status = status
    this.body = body
  }
}
