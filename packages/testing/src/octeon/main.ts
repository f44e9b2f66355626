#!/usr/bin/env node
import { createLinuxNet } from '@cni-offload/linux'
import { aborted, type Daemon, runDaemon } from '@cni-offload/sdk/runtime'
import { FakeOcteonCard } from './card.ts'
import { type FakeCardProcessConfig, readCardConfig } from './process-config.ts'
import { serveFakeOcteonCard } from './rpc/server.ts'

/** A card that is plugged in as long as this process runs. */
function daemonOf({ socket, ...options }: FakeCardProcessConfig): Daemon {
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>()
  // Whoever runs it learns of a failure by run().
  listening.catch(() => {})
  const run = async (signal: AbortSignal): Promise<void> => {
    try {
      await using net = createLinuxNet()
      await using card = await FakeOcteonCard.create({ ...options, net })
      await using _server = await serveFakeOcteonCard(card, socket)
      resolve()
      await aborted(signal)
    } catch (error) {
      reject(error)
      throw error
    }
  }
  return { listening, run }
}

await runDaemon({
  name: 'fake-octeon-card',
  purpose: 'A fake OCTEON card with its host and DPU, served to daemons in other processes, for tests and labs.',
  create: async (file) => daemonOf(await readCardConfig(file)),
})
