import type { Neighbour, Route, VfAdminSettings, VfVlan } from '@cni-offload/sdk'
import type { BpfProgram } from '../bpf/program.ts'

/**
 * A network namespace by path: `/run/netns/x`, `/proc/PID/ns/net`, … . The process's own is {@link OWN_NETNS}.
 */
export type NetnsPath = string

/** The network namespace that this process was started in. */
export const OWN_NETNS: NetnsPath = '/proc/self/ns/net'

/**
 * What can be set on a link besides its name, addresses, MTU and state. The kernel keeps all of it when the link moves to
 * another namespace, so whoever had it before decides how it behaves unless it is reset.
 */
export interface LinkTraits {
  /** Resolves addresses by ARP and neighbour discovery (no IFF_NOARP). */
  readonly arp: boolean
  /** Carries multicast (IFF_MULTICAST). */
  readonly multicast: boolean
  /** Was told to receive frames for every address (IFF_PROMISC); not set by being a bridge's port or by a capture. */
  readonly promiscuous: boolean
  /** Was told to receive all multicast frames (IFF_ALLMULTI). */
  readonly allMulticast: boolean
  /** How the kernel derives its operational state: 0 by carrier, 1 stays dormant, 2 stays in test; in 1 and 2 it has no IPv6. */
  readonly linkMode: number
  /** Length of the transmit queue in packets. */
  readonly txQueueLength: number
  /** Group number; 0 is the group of all links that were put into no other. */
  readonly group: number
  /** Link-layer broadcast address, lower case with colons; empty for interfaces without one. */
  readonly broadcast: string
}

/** Traits of a veth link as the kernel makes it. */
export const PRISTINE_TRAITS: LinkTraits = {
  arp: true,
  multicast: true,
  promiscuous: false,
  allMulticast: false,
  linkMode: 0,
  txQueueLength: 1000,
  group: 0,
  broadcast: 'ff:ff:ff:ff:ff:ff',
}

/** A network interface as the kernel describes it. */
export interface Link {
  /** Interface index within its namespace. */
  readonly index: number
  /** Name. */
  readonly name: string
  /** MAC address, lower case with colons; empty for interfaces without one. */
  readonly mac: string
  /** MTU in bytes. */
  readonly mtu: number
  /** Administratively up (IFF_UP). */
  readonly up: boolean
  /** Has carrier (IFF_LOWER_UP). */
  readonly carrier: boolean
  /** `ifalias`, a free text that survives moves between namespaces; empty if none. */
  readonly alias: string
  /** Kind: `veth`, `bridge`, …; empty for physical devices. */
  readonly kind: string
  /** Further settings, which survive moves between namespaces. */
  readonly traits: LinkTraits
  /** Alternative names. Each is as taken in its namespace as a name; they survive moves between namespaces. */
  readonly altNames: readonly string[]
  /** Index of the bridge or bond that it belongs to. */
  readonly master?: number
  /** What it is as the port of a bridge; absent where it is none. */
  readonly bridgePort?: BridgePort
  /** Largest MTU that its driver takes, in bytes; absent where the driver does not tell. */
  readonly maxMtu?: number
  /**
   * The device that it is the interface of: bus `pci`, name `0000:01:02.1`. Nobody can change it, whatever namespace the link is in. Absent for
   * virtual links, and before kernel 5.14.
   */
  readonly parent?: { readonly bus: string; readonly name: string }
  /** Index of the other end of a veth pair, or of the link that it lies upon, in the namespace which that one is in. */
  readonly peer?: number
  /** Counters since the device exists. */
  readonly stats: { readonly rxPackets: bigint; readonly txPackets: bigint; readonly rxBytes: bigint; readonly txBytes: bigint }
}

/** How a bridge treats one of its ports. */
export interface BridgePort {
  /** Whether senders are looked for behind it. */
  readonly learning: boolean
  /** Whether it gets frames for addresses that nobody has been found for. */
  readonly flood: boolean
  /** Whether it is apart from all others of which that is said. */
  readonly isolated: boolean
}

/** Where a program sees the frames of a link: what the link has received, or what it is about to send. */
export type Hook = 'ingress' | 'egress'

/** What decides about the frames of a link. */
export interface FrameProgram {
  /** Where. */
  readonly hook: Hook
  /** Name that the program was set with; empty if it is something else than a program that decides by itself. */
  readonly name: string
}

/**
 * What a physical function says of one of its VFs: what the card does to it, whatever the VF itself wants. Spoof check and trust are
 * absent where the driver does not know of them.
 */
export interface VfAdmin extends Required<Omit<VfAdminSettings, 'spoofCheck' | 'trust'>>, Pick<VfAdminSettings, 'spoofCheck' | 'trust'> {
  /** Number of the VF. */
  readonly vf: number
}

/** One change to a network namespace, as plain data: it crosses a thread boundary. */
export type NetOp =
  /**
   * Changes an existing link. Only fields present are touched. `master: null` takes it out of its bridge, `altNames: false`
   * removes all alternative names.
   */
  | {
      readonly op: 'link.set'
      readonly dev: string
      readonly name?: string
      readonly mac?: string
      readonly mtu?: number
      readonly up?: boolean
      readonly alias?: string
      readonly master?: string | null
      readonly traits?: Partial<LinkTraits>
      readonly altNames?: false
    }
  /**
   * A pair of connected links; the peer may be made in another namespace right away. The alias of `dev` is set last: a process that is
   * killed in the middle leaves a pair without it.
   */
  | {
      readonly op: 'link.add-veth'
      readonly dev: string
      readonly mac?: string
      readonly mtu?: number
      readonly alias?: string
      readonly peer: {
        readonly name: string
        readonly netns?: NetnsPath
        readonly mac?: string
        readonly mtu?: number
        readonly alias?: string
      }
    }
  /** A bridge. `multicastSnooping: false` has it send multicast to all ports: else it looks who wants what, whatever VLAN they are in. */
  | {
      readonly op: 'link.add-bridge'
      readonly dev: string
      readonly mac?: string
      readonly mtu?: number
      readonly multicastSnooping?: false
    }
  /**
   * Reads a link back, in `netns` if given (after a move) and else where the other ops work; fails with CHECK_FAILED that
   * names every difference. Only fields present are compared; `addresses: false` means that it has none but IPv6
   * link-local ones, `altNames: false` that it has no alternative names.
   */
  | {
      readonly op: 'link.expect'
      readonly dev: string
      readonly netns?: NetnsPath
      readonly mac?: string
      readonly mtu?: number
      readonly up?: boolean
      readonly alias?: string
      readonly traits?: Partial<LinkTraits>
      readonly altNames?: false
      readonly addresses?: false
    }
  /** Removes a link; `absentOk` makes a missing one success. */
  | { readonly op: 'link.del'; readonly dev: string; readonly absentOk?: boolean }
  /**
   * Moves a link into another namespace under a new name, in one kernel operation. Fails with ALREADY_EXISTS and leaves
   * the link where it was if the name is taken there.
   */
  | { readonly op: 'link.move'; readonly dev: string; readonly netns: NetnsPath; readonly name: string }
  /**
   * Adds an address with prefix length; IPv6 without duplicate address detection. With `prefixRoute: false` the kernel makes
   * no on-link route to its prefix.
   */
  | { readonly op: 'addr.add'; readonly dev: string; readonly address: string; readonly prefixRoute?: false }
  /** Removes one address, also an IPv6 link-local one; absent is success. */
  | { readonly op: 'addr.del'; readonly dev: string; readonly address: string }
  /** Removes all addresses but IPv6 link-local ones of the link. */
  | { readonly op: 'addr.flush'; readonly dev: string }
  /** Adds a route; `existsOk` makes one with this destination, table and metric, through whatever link, success. */
  | { readonly op: 'route.add'; readonly dev: string; readonly route: Route; readonly existsOk?: boolean }
  /** Removes a route that `route.add` made; absent is success. Its MTU and MSS do not matter. */
  | { readonly op: 'route.del'; readonly dev: string; readonly route: Route }
  /** Sets a permanent neighbour entry, whatever was known of that address before. */
  | { readonly op: 'neigh.add'; readonly dev: string; readonly ip: string; readonly mac: string }
  /** Removes a neighbour entry; absent is success. */
  | { readonly op: 'neigh.del'; readonly dev: string; readonly ip: string }
  /** Sets a kernel variable of the namespace by dotted name, `net.ipv6.conf.eth0.disable_ipv6`; dots in interface names as `/`. */
  | { readonly op: 'sysctl'; readonly key: string; readonly value: string }
  /** Redirects every frame that `from` receives to `to`'s egress (ingress qdisc, u32 match-all, mirred). Idempotent. */
  | { readonly op: 'redirect.set'; readonly from: string; readonly to: string }
  /** Removes the ingress qdisc and with it every redirect of the link; an absent qdisc or link is success. */
  | { readonly op: 'redirect.clear'; readonly dev: string }
  /** Sets what is given of a link that is the port of a bridge. */
  | { readonly op: 'bridge.port'; readonly dev: string; readonly port: Partial<BridgePort> }
  /** Ties a MAC address to a port of a bridge: it is nowhere else then, whoever sends with it. Ends when the port leaves the bridge. */
  | { readonly op: 'forward.set'; readonly dev: string; readonly mac: string }
  /** Unties a MAC address from a port of a bridge; absent is success. */
  | { readonly op: 'forward.del'; readonly dev: string; readonly mac: string }
  /**
   * Has all frames of a hook pass an eBPF program (clsact, cls_bpf). It takes the place of the one before in one step, and that of an
   * ingress qdisc with all its redirects.
   */
  | { readonly op: 'program.set'; readonly dev: string; readonly hook: Hook; readonly name: string; readonly program: BpfProgram }
  /** Removes the programs of both hooks, and every redirect; absent ones or an absent link are success. */
  | { readonly op: 'program.clear'; readonly dev: string }
  /**
   * Sets a VF through its physical function `dev`, one setting after the other. A driver may answer success and do nothing: whoever needs to be
   * sure reads back, see {@link LinuxNet.vfs}.
   */
  | { readonly op: 'vf.set'; readonly dev: string; readonly vf: number; readonly settings: VfAdminSettings }
  /** Sends one gratuitous ARP per IPv4 address and one unsolicited neighbour advertisement per IPv6 address. */
  | { readonly op: 'announce'; readonly dev: string; readonly addresses: readonly string[] }
  /**
   * As `announce`, through `dev` and for somebody behind it: with that MAC and in that VLAN. Without addresses one frame (RARP) shows switches
   * where the MAC is.
   */
  | {
      readonly op: 'announce.for'
      readonly dev: string
      readonly mac: string
      readonly vlan?: VfVlan
      readonly addresses: readonly string[]
    }
  /** Sends one frame as it stands, from its addresses to its last byte. */
  | { readonly op: 'frame.send'; readonly dev: string; readonly frame: Uint8Array }

/**
 * rtnetlink and namespaces as the rest of cni-offload sees them. All calls are asynchronous and never block the calling
 * thread; changes to the same object from different calls are not ordered, ops within a call are.
 */
export interface LinuxNet extends AsyncDisposable {
  /** All links of a namespace. @throws OffloadError NOT_FOUND if the path is no network namespace */
  links(netns: NetnsPath): Promise<Link[]>
  /** One link by name, undefined if absent. @throws OffloadError NOT_FOUND if the path is no network namespace */
  link(netns: NetnsPath, name: string): Promise<Link | undefined>
  /** Addresses with prefix length of a link; IPv6 link-local ones are left out unless they are asked for. */
  addresses(netns: NetnsPath, dev: string, options?: { readonly linkLocal?: boolean }): Promise<string[]>
  /**
   * IPv6 addresses with prefix length, link-local ones too, that do not answer yet because duplicate address detection has not
   * ended; those that it found to be duplicates are left out. Of one link or of the whole namespace.
   */
  tentativeAddresses(netns: NetnsPath, dev?: string): Promise<string[]>
  /** Routes of the main and other tables through a link, the kernel's own (proto kernel) left out. */
  routes(netns: NetnsPath, dev: string): Promise<Route[]>
  /** Permanent neighbour entries of a link. */
  neighbours(netns: NetnsPath, dev: string): Promise<Neighbour[]>
  /** What a physical function says of its VFs, by number; none of a link that has none. @throws OffloadError NOT_FOUND */
  vfs(netns: NetnsPath, dev: string): Promise<VfAdmin[]>
  /** What decides about the frames of a link, in the order in which it is asked; none where nothing does. @throws OffloadError NOT_FOUND */
  programs(netns: NetnsPath, dev: string): Promise<FrameProgram[]>
  /** MAC addresses that `forward.set` has tied to a port of a bridge. @throws OffloadError NOT_FOUND */
  forwarding(netns: NetnsPath, dev: string): Promise<string[]>
  /** Name of the device that all frames received by `dev` are redirected to; undefined if there is no (live) redirect. */
  redirectTarget(netns: NetnsPath, dev: string): Promise<string | undefined>
  /**
   * Applies ops in order and stops at the first that fails; what came before stays.
   *
   * @throws OffloadError NOT_FOUND (namespace or device missing), ALREADY_EXISTS, KERNEL_REFUSED; the message names op,
   * device, namespace and errno
   */
  apply(netns: NetnsPath, ops: readonly NetOp[]): Promise<void>
  /** Makes a named namespace under `/run/netns` with loopback up, visible to `ip netns`; an existing one is kept. Returns its path. */
  createNetns(name: string): Promise<NetnsPath>
  /** Removes a named namespace; absent is success. */
  deleteNetns(name: string): Promise<void>
  /** Identity (device and inode) of a namespace, undefined if the path is no network namespace. Equal text, same namespace. */
  netnsIdentity(netns: NetnsPath): Promise<string | undefined>
}
