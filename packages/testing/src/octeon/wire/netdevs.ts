import type { Link } from '@cni-offload/linux'

/** Which side of the card: the server that it is plugged into, or Linux on the card. */
export type CardSide = 'host' | 'dpu'

/** A network interface that a driver of one side registers. */
export interface NetdevSpec {
  /** Side. */
  readonly side: CardSide
  /** Wire that it is an end of; both sides' ends of the same wire reach each other. */
  readonly wire: string
  /** Name that it gets unless something else has it. */
  readonly name: string
  /** MAC address. */
  readonly mac: string
  /** PCI address of its function; its `ifalias` is `pci=<address>`, by which it is found again wherever it goes. */
  readonly pci: string
}

/** Network interfaces of both sides of a card, and the wires between them. */
export interface Netdevs extends AsyncDisposable {
  /** Registers an interface: down, and alone until the other side has one for the same wire. */
  create(spec: NetdevSpec): Promise<void>
  /** Removes the interface, wherever it lies and whatever it is called. */
  remove(side: CardSide, wire: string): Promise<void>
  /** Gives an interface its carrier or takes it away. It has one when it is made. */
  setCarrier(side: CardSide, wire: string, on: boolean): Promise<void>
  /** Takes an interface up or down, as its driver does. */
  setUp(side: CardSide, pci: string, up: boolean): Promise<void>
  /** All interfaces that lie in the network namespace of a side at this moment. */
  links(side: CardSide): Promise<readonly Link[]>
}

/** Whether an interface is that of a PCI function: others may have added to its `ifalias`, but kept this word. */
export function isOfFunction({ alias }: Link, pci: string): boolean {
  return alias.split(/\s+/).includes(`pci=${pci}`)
}
