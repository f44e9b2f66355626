import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type NetnsPath, OWN_NETNS } from '../../src/index.ts'
import { ipJson, run, TestNet, uniqueName, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('named network namespaces (needs root for network namespaces)', () => {
  let lab: TestNet

  beforeAll(() => {
    lab = new TestNet()
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const listed = (): string => execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })

  test('are made with loopback up, visible to ip netns, and survive being made again', async () => {
    const path = await lab.netns()
    const name = path.replace('/run/netns/', '')
    expect(listed()).toContain(name)
    expect(ipJson(path, 'link')).toMatchObject([{ ifname: 'lo', flags: expect.arrayContaining(['UP']) }])
    await lab.apply(path, { op: 'link.add-bridge', dev: 'br0' })
    expect(await lab.net.createNetns(name)).toBe(path)
    expect(await lab.net.link(path, 'br0')).toMatchObject({ name: 'br0' })
  })

  test('are shared with mount namespaces made later, from the first one after boot on', () => {
    const fixture = fileURLToPath(new URL('../fixtures/makes-netns.ts', import.meta.url))
    const script = 'mount -t tmpfs none /run && exec "$0" "$1"'
    const stdout = execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, process.execPath, fixture], {
      encoding: 'utf8',
    })
    expect(JSON.parse(stdout)).toEqual([
      { path: '/run/netns', shared: true },
      { path: '/run/netns/one', shared: true },
      { path: '/run/netns/two', shared: true },
    ])
  })

  test('do not change the namespace that calls are made from', async () => {
    const before = await lab.net.netnsIdentity(OWN_NETNS)
    const made = await lab.netns()
    expect(await lab.net.netnsIdentity(OWN_NETNS)).toBe(before)
    expect(await lab.net.netnsIdentity(made)).not.toBe(before)
    const own = readlinkSync('/proc/self/ns/net')
    const threads = readdirSync('/proc/self/task').map((thread) => readlinkSync(`/proc/self/task/${thread}/ns/net`))
    expect(new Set(threads)).toEqual(new Set([own]))
  })

  test('are removed, also when they are absent', async () => {
    const name = uniqueName()
    const path = await lab.net.createNetns(name)
    await lab.net.deleteNetns(name)
    await lab.net.deleteNetns(name)
    expect([existsSync(path), listed().includes(name)]).toEqual([false, false])
    expect(await lab.net.netnsIdentity(path)).toBeUndefined()
  })

  test('replace the remains of one whose maker died before it was mounted', async () => {
    const first = await lab.netns()
    const name = uniqueName()
    const path = `/run/netns/${name}`
    writeFileSync(path, '')
    try {
      expect(await lab.net.netnsIdentity(path)).toBeUndefined()
      await lab.net.createNetns(name)
      expect(await lab.net.netnsIdentity(path)).not.toBe(await lab.net.netnsIdentity(first))
    } finally {
      await lab.net.deleteNetns(name)
    }
    writeFileSync(path, '')
    await lab.net.deleteNetns(name)
    expect(existsSync(path)).toBe(false)
  })

  test('have an identity, whatever path leads to them', async () => {
    const path = await lab.netns()
    const { dev, ino } = statSync(path, { bigint: true })
    expect(await lab.net.netnsIdentity(path)).toBe(`${dev}:${ino}`)
    expect(await lab.net.netnsIdentity(OWN_NETNS)).toBe(await lab.net.netnsIdentity(`/proc/${process.pid}/ns/net`))
  })

  test.each(['/etc/hostname', '/run', '/dev/null', '/proc/self/ns/mnt', '/nowhere', '/etc/hostname/x', '/proc/1073741824/ns/net'])(
    'do not include %s',
    async (path: NetnsPath) => {
      expect(await lab.net.netnsIdentity(path)).toBeUndefined()
      await expect(lab.net.links(path)).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining(path) })
      await expect(lab.net.link(path, 'lo')).rejects.toMatchObject({ code: 'NOT_FOUND' })
      await expect(lab.apply(path, { op: 'link.set', dev: 'lo', up: true })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    },
  )

  test('that are named like a pipe do not make anything wait', async () => {
    const fifo = `/tmp/${uniqueName()}`
    execFileSync('mkfifo', [fifo])
    try {
      expect(await lab.net.netnsIdentity(fifo)).toBeUndefined()
    } finally {
      execFileSync('rm', [fifo])
    }
  })

  test.each(['', '.', '..', 'a/b', '../x', 'x'.repeat(256)])('cannot be called %j', async (name) => {
    await expect(lab.net.createNetns(name)).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('is no name of a network namespace'),
    })
    await expect(lab.net.deleteNetns(name)).rejects.toMatchObject({ code: 'KERNEL_REFUSED' })
  })

  test('of a living process can be used by its path', async () => {
    const path = await lab.netns()
    const inside = run(path, 'readlink', '/proc/self/ns/net').output.trim()
    const { ino } = statSync(path)
    expect(inside).toBe(`net:[${ino}]`)
  })
})
