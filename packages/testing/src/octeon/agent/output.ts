/** What the C library keeps back of a stream that is no terminal. */
const BLOCK = 4_096

/**
 * The streams of the agent: lines of the application on standard output, which reach a pipe only in blocks or at an orderly end, and
 * those of its library on standard error at once. `stdbuf -oL` tells by `_STDBUF_O`, as it does to any program.
 */
export class AgentOutput {
  readonly #limit: number
  #kept = ''

  constructor(terminal: boolean, stdbuf: string | undefined) {
    this.#limit = terminal || stdbuf === 'L' || stdbuf === '0' ? 0 : BLOCK
  }

  /** The application prints a line. */
  app(text: string): void {
    this.#kept += `${text}\n`
    if (this.#kept.length > this.#limit) this.flush()
  }

  /** The library prints a line. */
  library(text: string): void {
    process.stderr.write(`${text}\n`)
  }

  /** Lets out what was kept back. */
  flush(): void {
    if (this.#kept !== '') process.stdout.write(this.#kept)
    this.#kept = ''
  }
}
