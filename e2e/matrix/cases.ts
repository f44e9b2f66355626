import type { Dns, Route } from '@cni-offload/sdk'

/** A subnet of a network on one node. */
export interface Subnet {
  readonly subnet: string
  readonly gateway: string
  /** What all its addresses begin with. */
  readonly begin: string
}

/** The subnets of a network on one node. */
export interface Subnets {
  readonly v4: readonly Subnet[]
  readonly v6: readonly Subnet[]
}

/** What a pod is given, whatever gives it. Routes are in the kernel's normal form, those that it makes by itself left out. */
export interface Shape {
  /** Network name. */
  readonly id: string
  /** Subnets per family; a pod gets an address of each. */
  readonly subnets: readonly [v4: number, v6: number]
  readonly mtu: number
  readonly routes: (of: Subnets) => Route[]
  readonly dns?: Dns
  /** Whether addresses come without their prefix. */
  readonly hostPrefix?: true
  /** Whether the kernel makes no route to the prefixes of the addresses. */
  readonly noPrefixRoutes?: true
  /** How the stock plugins make it where it is not the bridge; the example adapter has no such network. */
  readonly by?: 'ptp' | 'static' | 'host-routes'
  /** Only two pods, with the newest versions: what is special is not in the result. */
  readonly two?: true
  /** Whether pods of another node are reached too. */
  readonly twoNodes?: true
}

export const OFF_LINK_GATEWAY = '169.254.1.1'

const defaults = ({ v4, v6 }: Subnets): Route[] => [
  ...v4.slice(0, 1).map(({ gateway }) => ({ dst: '0.0.0.0/0', gw: gateway })),
  ...v6.slice(0, 1).map(({ gateway }) => ({ dst: '::/0', gw: gateway })),
]
const many = Array.from({ length: 100 }, (_, i) => `10.200.${i}.0/24`)

const plain = { subnets: [1, 1], mtu: 1500, routes: defaults } as const

/** All shapes of networks, big and small ones in turn, so that each VF goes from one extreme to the other. */
export const SHAPES: readonly Shape[] = [
  { ...plain, id: 'dual-stack', twoNodes: true },
  { ...plain, id: 'ipv4-only', subnets: [1, 0] },
  { ...plain, id: 'ipv6-only', subnets: [0, 1] },
  { ...plain, id: 'mtu-9000', mtu: 9000, two: true, twoNodes: true },
  { ...plain, id: 'mtu-1280', mtu: 1280, two: true, twoNodes: true },
  { ...plain, id: 'no-addresses', subnets: [0, 0] },
  { ...plain, id: 'three-and-two-addresses', subnets: [3, 2] },
  { ...plain, id: 'mtu-576', mtu: 576, two: true, subnets: [1, 0] },
  { ...plain, id: 'mtu-8900', mtu: 8900, two: true },
  { ...plain, id: 'no-default-route', routes: () => [] },
  { ...plain, id: 'many-routes', two: true, routes: (of) => [...defaults(of), ...many.map((dst) => ({ dst, gw: of.v4[0]!.gateway }))] },
  {
    ...plain,
    id: 'resolver',
    dns: { nameservers: ['10.96.0.10', 'fd96::a'], domain: 'pods.test', search: ['a.test', 'b.test'], options: ['ndots:5'] },
  },
  {
    ...plain,
    id: 'routes-of-all-kinds',
    routes: (of) => {
      const [four, six] = [of.v4[0]!.gateway, of.v6[0]!.gateway]
      return [
        ...defaults(of),
        { dst: '192.0.2.0/24', gw: four, mtu: 1400, advmss: 1300, priority: 7 },
        { dst: '192.0.2.0/24', gw: four, table: 100 },
        { dst: '203.0.113.0/24' },
        { dst: '203.0.114.0/24', scope: 0 },
        { dst: '2001:db8::/32', gw: six, mtu: 1300, priority: 50 },
        { dst: '2001:db8:1::/48', gw: 'fe80::1', table: 70_000 },
      ]
    },
  },
  {
    ...plain,
    id: 'point-to-point',
    by: 'ptp',
    noPrefixRoutes: true,
    routes: (of) => [
      ...defaults(of),
      ...of.v4.flatMap(({ subnet, gateway }) => [{ dst: `${gateway}/32` }, { dst: subnet, gw: gateway }]),
      ...of.v6.flatMap(({ subnet, gateway }) => [{ dst: `${gateway}/128` }, { dst: subnet, gw: gateway }]),
    ],
  },
  { ...plain, id: 'static-addresses', by: 'static', two: true },
  {
    ...plain,
    id: 'host-addresses',
    by: 'host-routes',
    hostPrefix: true,
    noPrefixRoutes: true,
    routes: (of) => [
      { dst: `${OFF_LINK_GATEWAY}/32` },
      { dst: '0.0.0.0/0', gw: OFF_LINK_GATEWAY },
      ...of.v6.flatMap(({ gateway }) => [{ dst: `${gateway}/128` }, { dst: '::/0', gw: gateway }]),
    ],
  },
]

/** More than the far node's card carries. */
export const TOO_LARGE: Shape = { ...plain, id: 'mtu-9100', mtu: 9100 }

/** IPv6 on a link that is too small for it. */
export const TOO_SMALL: Shape = { ...plain, id: 'mtu-1279', mtu: 1279 }

/** All networks that are served. */
export const ALL: readonly Shape[] = [...SHAPES, TOO_LARGE, TOO_SMALL]

/** The subnets of a shape on a node; no two shapes and nodes have any in common. */
export function subnetsOf(shape: Shape, node: number): Subnets {
  const nth = 100 + ALL.indexOf(shape)
  const [four, six] = shape.subnets
  return {
    v4: Array.from({ length: four }, (_, i) => {
      const begin = `10.${nth}.${node * 10 + i}.`
      return { begin, subnet: `${begin}0/24`, gateway: `${begin}1` }
    }),
    v6: Array.from({ length: six }, (_, i) => {
      const begin = `fd00:${nth}:${node}${i}::`
      return { begin, subnet: `${begin}/64`, gateway: `${begin}1` }
    }),
  }
}
