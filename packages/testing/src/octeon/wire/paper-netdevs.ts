import { type Link, PRISTINE_TRAITS } from '@cni-offload/linux'
import { type CardSide, isOfFunction, type Netdevs, type NetdevSpec } from './netdevs.ts'
import { freeName } from './veth-netdevs.ts'

interface Entry {
  readonly side: CardSide
  readonly wire: string
  link: Link
}

const NO_STATS: Link['stats'] = { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n }

/** Interfaces that exist only in the fake's own files: for tests of what reads those, without root and without the network. */
export class PaperNetdevs implements Netdevs {
  #entries: readonly Entry[] = []
  #index = 1

  async create({ side, wire, name, mac, pci }: NetdevSpec): Promise<void> {
    const taken = new Set((await this.links(side)).map((link) => link.name))
    const link: Link = {
      index: (this.#index += 1),
      name: freeName(name, taken),
      mac,
      mtu: 1500,
      up: false,
      carrier: false,
      alias: `pci=${pci}`,
      kind: 'veth',
      traits: PRISTINE_TRAITS,
      altNames: [],
      stats: NO_STATS,
    }
    this.#entries = [...this.#entries, { side, wire, link }]
  }

  async remove(side: CardSide, wire: string): Promise<void> {
    this.#entries = this.#entries.filter((entry) => !(entry.side === side && entry.wire === wire))
  }

  async setCarrier(side: CardSide, wire: string, on: boolean): Promise<void> {
    for (const entry of this.#entries)
      if (entry.side === side && entry.wire === wire) entry.link = { ...entry.link, carrier: on && entry.link.up }
  }

  async setUp(side: CardSide, pci: string, up: boolean): Promise<void> {
    for (const entry of this.#entries)
      if (entry.side === side && isOfFunction(entry.link, pci)) entry.link = { ...entry.link, up, carrier: up }
  }

  async links(side: CardSide): Promise<readonly Link[]> {
    return this.#entries.filter((entry) => entry.side === side).map(({ link }) => link)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#entries = []
  }
}
