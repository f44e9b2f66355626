import { exec, inNetns } from '@cni-offload/testing'
import type { Route } from '@cni-offload/sdk'

/** An interface of a pod as iproute2 tells it: another reader than the one under test. */
export interface ReadBack {
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  /** Addresses but for IPv6 link-local ones, sorted. */
  readonly addresses: readonly string[]
  /** Addresses that are not what an address of a pod should be: for ever, and usable at once. */
  readonly doubtful: readonly string[]
  /** Unicast routes in normal form, sorted; the kernel's own left out. */
  readonly routes: readonly string[]
  /** Destinations of the kernel's own routes in the main table but for link-local ones, sorted. */
  readonly kernelRoutes: readonly string[]
}

type Json = Record<string, any>

/** Runs `ip` in a namespace; fails the test if it fails. */
export async function ip(netns: string, words: string): Promise<string> {
  const { code, stdout, stderr } = await exec(inNetns(netns, ['ip', ...words.split(' ')]))
  if (code !== 0) throw new Error(`ip ${words}: ${stderr}`)
  return stdout
}

/** Several questions to iproute2 in one process: every process counts on the machines that this runs on. */
async function ipJson(netns: string, questions: readonly string[]): Promise<Json[][]> {
  const { stdout, stderr } = await exec(inNetns(netns, ['ip', '-j', '-force', '-batch', '-']), { input: `${questions.join('\n')}\n` })
  const answers = stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as Json[])
  if (answers.length !== questions.length)
    throw new Error(`ip -batch answered ${answers.length} of ${questions.length} questions: ${stderr}`)
  return answers
}

/** A list of anything as texts that can be compared whatever the order of elements and fields. */
export const sorted = (list: readonly object[]): string[] =>
  list.map((one) => JSON.stringify(Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => a.localeCompare(b))))).toSorted()

const normal = (route: Json): Route => {
  const six = `${route['dst']} ${route['gateway']}`.includes(':')
  const dst = route['dst'] === 'default' ? (six ? '::/0' : '0.0.0.0/0') : String(route['dst'])
  const metrics = (route['metrics'] as Json[] | undefined)?.[0] ?? {}
  const priority = six && route['metric'] === 1024 ? undefined : route['metric']
  // iproute2 names neither the table "main" nor the scope "global".
  const direct = !six && route['gateway'] === undefined
  const scope = direct && route['scope'] === undefined ? 0 : undefined
  return JSON.parse(
    JSON.stringify({
      dst: dst.includes('/') ? dst : `${dst}/${six ? 128 : 32}`,
      gw: route['gateway'],
      mtu: metrics['mtu'],
      advmss: metrics['advmss'],
      priority,
      table: route['table'] === undefined ? undefined : Number(route['table']),
      scope,
    }),
  ) as Route
}

/** Reads an interface of a pod back; undefined if it has none of that name. */
export async function readBack(netns: string, ifName: string): Promise<ReadBack | undefined> {
  const [links = [], all = []] = await ipJson(netns, ['addr show', 'route show table all'])
  const link = links.find(({ ifname }) => ifname === ifName)
  if (link === undefined) return undefined
  const addresses = (link['addr_info'] as Json[]).filter(({ family, scope }) => !(family === 'inet6' && scope === 'link'))
  const routes = all.filter(({ dev }) => dev === ifName)
  const unicast = routes.filter(({ type, dst }) => (type ?? 'unicast') === 'unicast' && !String(dst).startsWith('fe80:'))
  const made = unicast.filter(({ protocol }) => protocol !== 'kernel')
  return {
    mac: link['address'],
    mtu: link['mtu'],
    up: (link['flags'] as string[]).includes('UP'),
    addresses: addresses.map(({ local, prefixlen }) => `${local}/${prefixlen}`).toSorted(),
    doubtful: addresses
      .filter(
        (one) =>
          one['tentative'] ||
          one['dadfailed'] ||
          one['dynamic'] ||
          one['valid_life_time'] !== 0xffff_ffff ||
          (one['family'] === 'inet6' && !one['nodad']),
      )
      .map(({ local }) => String(local)),
    routes: sorted(made.map(normal)),
    kernelRoutes: unicast
      .filter(({ protocol, table }) => protocol === 'kernel' && table === undefined)
      .map(({ dst }) => String(dst))
      .toSorted(),
  }
}
