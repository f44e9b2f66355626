import { readFile } from 'node:fs/promises'
import { parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import type { WireConfig } from '../rpc/agent-peer.ts'
import { RpcClient } from '../rpc/client.ts'
import type { OpenedFunction } from '../wire/agent-session.ts'
import type { PerstListener } from '../wire/control-plane.ts'

/** Group that is told where there is no card to ask. */
const NO_CARD_GROUP = 32

/** Model that is told where there is no card to ask. */
const NO_CARD_MODEL = 'cn10ka_a0'

const opened: z.ZodType<OpenedFunction> = z.object({
  group: z.int().exactOptional(),
  problem: z.enum(['not-bound', 'not-viable', 'busy']).exactOptional(),
})

/** The card that an agent works with; without one, everything succeeds and nobody hears of it. */
export class CardLink {
  /** What the chip says that it is. */
  readonly model: string
  readonly #client: RpcClient | undefined

  private constructor(client: RpcClient | undefined, model: string) {
    this.#client = client
    this.model = model
  }

  /** Finds the card. @param socket - where it is served; undefined for none */
  static async open(socket: string | undefined, argv: readonly string[]): Promise<CardLink> {
    if (socket === undefined) return new CardLink(undefined, NO_CARD_MODEL)
    const client = await RpcClient.connect(socket)
    const answer = await client.call('agent', 'started', [{ pid: process.pid, argv, startTicks: await startTicks() }])
    return new CardLink(client, parseWith(z.object({ model: z.string() }), answer, 'answer of a fake card', 'UNDECODABLE').model)
  }

  /** Opens a function through vfio. */
  async openFunction(pci: string): Promise<OpenedFunction> {
    const answer = (await this.#client?.call('agent', 'open', [pci])) ?? { group: NO_CARD_GROUP }
    return parseWith(opened, answer, 'answer of a fake card', 'UNDECODABLE')
  }

  /** Takes huge pages. @returns whether there were that many */
  async takePages(pages: number): Promise<boolean> {
    return this.#client === undefined || (await this.#client.call('agent', 'takePages', [pages])) === true
  }

  /** Answers the host from now on. */
  async serve(config: WireConfig): Promise<void> {
    await this.#client?.call('agent', 'serve', [config])
  }

  /** Tells the host whether the firmware is ready. */
  async setFirmwareReady(ready: boolean): Promise<void> {
    await this.#client?.call('agent', 'setFirmwareReady', [ready])
  }

  /** A heartbeat. */
  async beat(): Promise<void> {
    await this.#client?.call('agent', 'beat', [])
  }

  /** Does nothing any more. */
  async stall(): Promise<void> {
    await this.#client?.call('agent', 'stall', [])
  }

  /** Calls `listener` at each reset of the PCI link. */
  onPerst(listener: PerstListener): void {
    this.#client?.onPerst(listener)
  }
}

/** When this process was started, in clock ticks since boot: the 22nd field, counted behind the name, which may hold blanks. */
async function startTicks(): Promise<number> {
  const stat = await readFile('/proc/self/stat', 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
}
