// An MQTT 3.1.1 broker of its own lineage for the tests: `node broker.js PORT`, on loopback.
import net from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
const server = net.createServer((socket) => {
  socket.setNoDelay(true)
  broker.handle(socket)
})
server.listen(Number(process.argv[2]), '127.0.0.1')
