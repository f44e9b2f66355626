import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { childrenCpuMs, getrusage, peerCredentials, processCpuMs } from '../../src/index.ts'

const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

const burn = (): number => {
  let sum = 0
  for (let index = 0; index < 5e7; index++) sum += index % 7
  return sum
}

describe('peer credentials', () => {
  test('name the process and user at the other end of a unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'peer-'))
    const server = createServer().listen(join(folder, 's'))
    await once(server, 'listening')
    const client = connect(join(folder, 's'))
    try {
      const [socket] = (await once(server, 'connection')) as [Socket]
      expect(peerCredentials(descriptorOf(socket))).toEqual({ pid: process.pid, uid: process.getuid!(), gid: process.getgid!() })
      socket.destroy()
    } finally {
      client.destroy()
      server.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('of something that is no socket are an error', () => {
    expect(() => peerCredentials(-1)).toThrow(expect.objectContaining({ code: 'IO_FAILURE', message: expect.stringContaining('EBADF') }))
  })
})

describe('CPU time', () => {
  test('of this process grows with work', async () => {
    const [rusage, schedstat] = [getrusage('self'), await processCpuMs(process.pid)]
    burn()
    expect(getrusage('self').userMs).toBeGreaterThan(rusage.userMs)
    expect(await processCpuMs(process.pid)).toBeGreaterThan(schedstat)
  })

  test('of children counts once they were waited for', () => {
    const before = childrenCpuMs()
    spawnSync(process.execPath, ['-e', '0'])
    expect(childrenCpuMs()).toBeGreaterThan(before)
  })

  test('of a process that does not exist is an error', async () => {
    await expect(processCpuMs(2 ** 30)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
