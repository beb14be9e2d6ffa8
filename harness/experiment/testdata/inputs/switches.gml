graph [
  node [ id 0 label "north" ]
  node [ id 1 label "east" ]
  node [ id 2 label "south" ]
  node [ id 3 label "island" ]
  edge [ source 0 target 1 delay 3 ]
  edge [ source 1 target 2 delay 4 bandwidth 10 ]
]
