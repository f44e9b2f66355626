import { readFile } from 'node:fs/promises'
import type { LinuxNet } from '@cni-offload/linux'
import { PORT_IN_PROXY, Splice } from '@cni-offload/linux/splice'
import { OffloadError } from '@cni-offload/sdk'
import { type Check, fail, type Finding, ok, skipped } from '../check.ts'

/** What the kernel of a DPU is tried with. */
export interface KernelSubject {
  /** Makes network operations; what it gives is disposed by the check. */
  readonly net: () => LinuxNet
  /** Name for a network namespace that nobody has. */
  readonly scratch: string
  /** Folder of kernel settings. @defaultValue /proc/sys */
  readonly sysctls?: string
  /** Families that packets are forwarded in. */
  readonly families: readonly ('ipv4' | 'ipv6')[]
}

const FORWARDING = { ipv4: 'net.ipv4.ip_forward', ipv6: 'net.ipv6.conf.all.forwarding' } as const

/** Whether the kernel can do what adapters ask of it. It is tried in a namespace of its own, which is gone afterwards. */
export function kernelChecks(subject: KernelSubject): readonly Check[] {
  return [
    {
      id: 'kernel.splice',
      title: 'the kernel splices interfaces (veth, ingress, u32, mirred)',
      run: async () => await trySplice(subject),
    },
    ...subject.families.map((family): Check => ({
      id: `kernel.forwarding.${family}`,
      title: `packets of ${family === 'ipv4' ? 'IPv4' : 'IPv6'} are forwarded`,
      run: async () => await forwards(FORWARDING[family], subject.sysctls ?? '/proc/sys'),
    })),
  ]
}

async function trySplice({ net: create, scratch }: KernelSubject): Promise<Finding> {
  if (process.getuid?.() !== 0) return skipped('only root may make network namespaces', 'Run it as root.')
  await using net = create()
  try {
    const netns = await net.createNetns(scratch)
    // Each pair has its other end beside it: only the ends that are spliced matter.
    await net.apply(netns, [
      { op: 'link.add-veth', dev: 'eth0', peer: { name: 'cni0' } },
      { op: 'link.add-veth', dev: PORT_IN_PROXY, peer: { name: 'pod0' } },
    ])
    await new Splice(net, netns, 'eth0').open('offload doctor')
    return ok('tried in a namespace of its own')
  } catch (error) {
    const failure = OffloadError.from(error)
    return fail(
      failure.message,
      'pods cannot be connected with what a CNI makes for them',
      'The kernel needs VETH, NET_CLS_ACT, NET_SCH_INGRESS, NET_CLS_U32 and NET_ACT_MIRRED: load the modules, or use another kernel.',
    )
  } finally {
    await net.deleteNetns(scratch)
  }
}

async function forwards(key: string, folder: string): Promise<Finding> {
  const value = (await readFile(`${folder}/${key.replaceAll('.', '/')}`, 'utf8')).trim()
  const seen = `${key} = ${value}`
  return value !== '0' ? ok(seen) : fail(seen, 'packets of pods end at the DPU', `Set it: sysctl -w ${key}=1, and in /etc/sysctl.d.`)
}
