import { OffloadError } from '@cni-offload/sdk'

/**
 * Counts the calls under way, so that a drain can wait for them before it closes connections.
 *
 * Closing gracefully at once would be HTTP/2's own way, but grpc-js, on both ends, takes the next keepalive ping of a
 * connection that is being closed for a failure and drops the calls on it.
 *
 * @see https://github.com/grpc/grpc-node/issues/3068
 */
export class ActiveCalls {
  #count = 0
  readonly #idle: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  #draining = false

  /** A call begins. @throws OffloadError AGENT_UNREACHABLE during a drain */
  enter(): void {
    if (this.#draining)
      throw new OffloadError('AGENT_UNREACHABLE', 'the agent is shutting down', { hint: 'It takes calls again when it is back.' })
    this.#count += 1
  }

  /** A call ended. */
  leave(): void {
    this.#count -= 1
    if (this.#draining && this.#count === 0) this.#idle.resolve()
  }

  /** Lets no call begin any more. Resolves when the last one has ended, or after `graceMs`. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true
    if (this.#count === 0) return
    const timer = setTimeout(() => this.#idle.resolve(), graceMs)
    await this.#idle.promise
    clearTimeout(timer)
  }
}
