import type { Link } from '@cni-offload/linux'
import { Refusal } from '../system-error.ts'
import { type Entries, type Entry, folder, link, readable } from '../tree/entry.ts'

const FLAGS = { up: 0x1, broadcast: 0x2, multicast: 0x1000 } as const

/** The folder of a network interface. @param device - its PCI function's folder, seen from here; undefined if it has none */
export function netFolder(net: Link, device?: string): Entry {
  return folder(() => netEntries(net, device))
}

function netEntries(net: Link, device: string | undefined): Entries {
  const value = (text: string | number | bigint): Entry => readable(`${text}\n`)
  /** What the kernel does not tell of an interface that is down. */
  const whileUp = (text: string): Entry =>
    readable(() => {
      if (!net.up) throw new Refusal('EINVAL')
      return `${text}\n`
    })
  const flags = FLAGS.broadcast | FLAGS.multicast | (net.up ? FLAGS.up : 0)
  return {
    address: value(net.mac),
    addr_assign_type: value(0),
    addr_len: value(6),
    broadcast: value('ff:ff:ff:ff:ff:ff'),
    carrier: whileUp(net.carrier ? '1' : '0'),
    dev_id: value('0x0'),
    dev_port: value(0),
    duplex: whileUp('full'),
    flags: value(`0x${flags.toString(16)}`),
    ifalias: value(net.alias),
    ifindex: value(net.index),
    mtu: value(net.mtu),
    operstate: value(net.up && net.carrier ? 'up' : 'down'),
    // What the agent's configuration says, not what the link can do.
    speed: whileUp('10000'),
    tx_queue_len: value(net.traits.txQueueLength),
    type: value(1),
    uevent: readable(`INTERFACE=${net.name}\nIFINDEX=${net.index}\n`),
    statistics: folder(() => ({
      rx_packets: value(net.stats.rxPackets),
      tx_packets: value(net.stats.txPackets),
      rx_bytes: value(net.stats.rxBytes),
      tx_bytes: value(net.stats.txBytes),
      rx_dropped: value(0),
      tx_dropped: value(0),
      rx_errors: value(0),
      tx_errors: value(0),
    })),
    ...(device === undefined ? {} : { device: link(device) }),
  }
}
