import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { OWN_NETNS } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { exec, inNetns } from '../net/exec.ts'
import { uniqueName } from '../unique-name.ts'

/** Where a link is cut. */
export interface LinkCut {
  /** Namespace that the test has made. */
  readonly netns: NetnsPath
  /** Link in it. */
  readonly dev: string
  /** What gets lost, seen from the namespace. @defaultValue 'both' */
  readonly direction?: 'in' | 'out' | 'both'
}

/**
 * Cuts a link: every frame is dropped, without a word to either side and with the carrier still there, until the result is disposed.
 * What is open over it stays open, as with a cable that is pulled somewhere in between.
 *
 * @throws OffloadError INVALID_ENVIRONMENT when the namespace is this process's own; NOT_FOUND when there is no such link; IO_FAILURE
 * when nftables refuses
 */
export async function cutLink(net: LinuxNet, { netns, dev, direction = 'both' }: LinkCut): Promise<AsyncDisposable> {
  if ((await net.netnsIdentity(netns)) === (await net.netnsIdentity(OWN_NETNS)))
    throw new OffloadError('INVALID_ENVIRONMENT', `${netns} is the namespace of this process: its links are not cut`, {
      hint: 'Name a namespace that the test has made.',
    })
  // Newer kernels take a name that nothing has yet.
  if ((await net.link(netns, dev)) === undefined) throw new OffloadError('NOT_FOUND', `there is no link ${dev} in ${netns}`)
  const table = uniqueName('cut')
  const chain = (hook: string): string => `chain ${hook} {\n type filter hook ${hook} device "${dev}" priority -400\n policy drop\n }\n`
  const hooks = [...(direction === 'out' ? [] : ['ingress']), ...(direction === 'in' ? [] : ['egress'])]
  await nft(netns, `table netdev ${table} {\n${hooks.map(chain).join('')}}\n`)
  return { [Symbol.asyncDispose]: () => nft(netns, `delete table netdev ${table}`) }
}

async function nft(netns: NetnsPath, input: string): Promise<void> {
  const { code, stderr } = await exec(inNetns(netns, ['nft', '-f', '-']), { input })
  if (code !== 0)
    throw new OffloadError('IO_FAILURE', `nft in ${netns} exited with ${code}: ${stderr.trim()}`, {
      hint: 'It needs root, the package nftables, and a kernel from 5.16.',
    })
}
