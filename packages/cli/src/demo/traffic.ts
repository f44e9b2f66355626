import { PingStream } from '@cni-offload/testing'
import type { Lab } from '../lab/lab.ts'
import { familyOf, plain, type PodPair, where } from './checks.ts'
import type { DemoCheck } from './report.ts'

interface Flow {
  readonly name: string
  readonly stream: PingStream
}

/** Running pods that ping each other all the time, twenty times a second, in both families. */
export class Traffic implements AsyncDisposable {
  readonly #flows: readonly Flow[]

  private constructor(flows: readonly Flow[]) {
    this.#flows = flows
  }

  /** Starts a stream along each pair in every family that the target has. */
  static async start(lab: Lab, pairs: readonly PodPair[]): Promise<Traffic> {
    await using started = new AsyncDisposableStack()
    const flows: Flow[] = []
    for (const pair of pairs)
      for (const ip of pair.to.ips) {
        const stream = started.use(await PingStream.start(lab.podPath(pair.from.name), plain(ip)))
        flows.push({ name: `${familyOf(ip)} ${where(pair)} ${pair.from.name} → ${pair.to.name}`, stream })
      }
    started.move()
    return new Traffic(flows)
  }

  /** Ends all streams. @param during - ends the names of the checks @returns a check for each: nothing was lost */
  async end(during: string): Promise<DemoCheck[]> {
    return await Promise.all(
      this.#flows.map(async ({ name, stream }) => {
        const { sent, received } = await stream.end()
        return { name: `ping ${name} ${during}`, ok: sent > 0 && received === sent, seen: `${sent - received} of ${sent} lost` }
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { stream } of this.#flows) await stream[Symbol.asyncDispose]()
  }
}
