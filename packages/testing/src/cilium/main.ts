#!/usr/bin/env node
import { createLinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { type Daemon, runDaemon } from '@cni-offload/sdk/runtime'
import { NetnsDatapath } from './datapath.ts'
import { FakeCiliumAgent } from './fake-cilium-agent.ts'
import { FakeCluster } from './fake-cluster.ts'
import { type FakeProcessConfig, readFakeConfig } from './process-config.ts'

/** The fake agent of the network namespace that this process is in. */
function daemonOf(config: FakeProcessConfig): Daemon {
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>()
  // Whoever runs it learns of a failure by run().
  listening.catch(() => {})
  const run = async (signal: AbortSignal): Promise<void> => {
    await using net = createLinuxNet()
    const cluster = config.cluster === undefined ? undefined : new FakeCluster(config.cluster)
    const agent = new FakeCiliumAgent({
      ...config,
      datapath: new NetnsDatapath(net, OWN_NETNS),
      ...(cluster === undefined ? {} : { published: (endpoints) => cluster.publish(config.nodeName, endpoints) }),
    })
    try {
      await cluster?.open()
      // Before it restores endpoints: it keeps those of pods that it knows.
      if (cluster !== undefined) await agent.learn(await cluster.view(config.nodeName))
      await agent.start()
    } catch (error) {
      reject(error)
      throw error
    }
    resolve()
    if (cluster !== undefined) await cluster.follow(config.nodeName, signal, (view) => agent.learn(view))
    else if (!signal.aborted) await new Promise((ended) => signal.addEventListener('abort', ended, { once: true }))
    await agent.stop()
  }
  return { listening, run }
}

await runDaemon({
  name: 'fake-cilium-agent',
  purpose: 'Serves the API of a cilium-agent and connects its endpoints by plain routing, for tests and labs.',
  create: async (file) => daemonOf(await readFakeConfig(file)),
})
